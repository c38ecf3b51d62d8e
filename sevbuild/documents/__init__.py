"""The ground tools of every decoder and writer of documents."""
