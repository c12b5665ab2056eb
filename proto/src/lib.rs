//! The messages of the model topic.
