"""Notification channels: `webhooks` for all that take HTTP, `smtp` for mail, `senders` chooses."""
