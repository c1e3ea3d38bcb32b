"""Who is told: Slack, a webhook, a mail server, PagerDuty, Alertmanager; one module each."""
