"""What a tenant who means harm would try, on a real API server under the chart's own account."""
