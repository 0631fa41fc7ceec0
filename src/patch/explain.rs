//! The definition of what a row says: a [`super::define::Definition`] and a row in, [`super::Says`] out, by the words of `feed::model` alone. The catalog is held against it.
