"""Starting the product: first start, the embedded process, or a process per role."""
