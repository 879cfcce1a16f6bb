"""Official accounts: template messages to followers, and subscribe notifications."""
