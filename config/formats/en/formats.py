"""How the administration writes dates; everything else is as Django has it for English."""

DATE_FORMAT = "j M Y"
DATETIME_FORMAT = "j M Y, H:i"
