"""What business systems hear, over HTTP: signed as Standard Webhooks say, and only to where the hub may go."""
