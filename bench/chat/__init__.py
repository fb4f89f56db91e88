"""What chatd adds to a model's stream: measured beside a bare floor, in one run (`make bench`)."""
