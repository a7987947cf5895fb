"""Stock backbones, loaded right: layouts, published formats, the catalog, self-tests."""
