"""Models: from a folder to a network and back. Re-exports the functions that open the folder of a run or an export."""

from adapt.models.loading import load_classifier as load_classifier
from adapt.models.loading import load_encoder as load_encoder
from adapt.models.loading import load_language_model as load_language_model
from adapt.models.loading import load_tokenizer as load_tokenizer
from adapt.models.loading import new_classifier as new_classifier
