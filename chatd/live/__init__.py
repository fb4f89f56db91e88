"""The live layer: notifications, the part log, groups; on Redis or inside one process."""
