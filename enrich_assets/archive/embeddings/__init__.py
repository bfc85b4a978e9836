"""Files that a profile's embeddings name: networks, and vectors made elsewhere. Read, checked, and named by their content."""

from enrich_assets.archive.embeddings.files import EmbeddingModel, embedding_model
from enrich_assets.archive.embeddings.imported import ImportedVectors, imported_vectors

__all__ = ["EmbeddingModel", "ImportedVectors", "embedding_model", "imported_vectors"]
