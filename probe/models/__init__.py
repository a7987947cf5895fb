"""Stock backbones: layouts, published formats, the catalog, loading, self-tests."""
