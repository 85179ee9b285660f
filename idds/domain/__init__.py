"""Facts of the field: the nouns of the design as frozen records, their statuses, and the errors they can meet."""
