// Nothing is compiled here: this package exists so that Cargo fetches its dependencies.
