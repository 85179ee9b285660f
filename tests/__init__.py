"""The test ladder: unit, contract, integration, migration, acceptance; and bench beside it."""
