"""The proof that the record is whole: signed heads and seals of the chain, verification, export, archives."""
