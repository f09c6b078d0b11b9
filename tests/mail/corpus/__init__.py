"""A corpus of hard mails, made by code: every kind of trouble that mail is known to have, and mutations of them."""
