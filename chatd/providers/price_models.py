"""Prices of models, with the moment from which they hold. `prices` reads and writes them."""

from django.db import models
from django.db.models import F, Q

from chatd.core.clock import now
from chatd.core.conditions import IsShortDecimal
from chatd.core.fields import ExactDecimalField
from chatd.providers.pricing import MAX_DIGITS


class ModelPrice(models.Model):
    """What a model takes from `valid_from` until the next row of it, in USD per million tokens.

    A row without any price says that the model is unpriced from then on. Rows that are in force
    or were once are never changed.
    """

    id = models.BigAutoField(primary_key=True)
    model_config = models.ForeignKey(
        "providers.ModelConfig", on_delete=models.CASCADE, related_name="prices"
    )
    valid_from = models.DateTimeField()
    input = ExactDecimalField(null=True)
    output = ExactDecimalField(null=True)
    cache_read = ExactDecimalField(null=True)
    cache_write = ExactDecimalField(null=True)
    created_by = models.UUIDField(null=True, editable=False)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        verbose_name = "model price"
        constraints = [
            models.UniqueConstraint(
                fields=["model_config", "valid_from"], name="model_price_one_at_a_time"
            ),
            *(
                models.CheckConstraint(
                    condition=Q(**{f"{name}__isnull": True})
                    | Q(IsShortDecimal(F(name), digits=MAX_DIGITS)),
                    name=f"model_price_{name}_is_one",
                )
                for name in ("input", "output", "cache_read", "cache_write")
            ),
        ]

    def __str__(self) -> str:
        return f"price of {self.model_config_id} from {self.valid_from:%Y-%m-%d}"
