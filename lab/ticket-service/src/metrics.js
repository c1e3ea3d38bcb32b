// The service's Prometheus metrics, and the middleware that counts a request.

import client from 'prom-client';

const BUCKETS = [0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export function createMetrics(serviceName) {
  const register = new client.Registry();
  register.setDefaultLabels({ service: serviceName });
  // A coarse event-loop sampler: the default wakes every pod up 100 times a second.
  client.collectDefaultMetrics({ register, eventLoopMonitoringPrecision: 100 });
  const duration = new client.Histogram({
    name: 'http_request_duration_seconds',
    help: 'Time to answer a request, by method, route and status.',
    labelNames: ['method', 'route', 'status'],
    buckets: BUCKETS,
    registers: [register],
  });
  const errors = new client.Counter({
    name: 'http_request_errors_total',
    help: 'Requests answered with a 5xx status.',
    labelNames: ['method', 'route'],
    registers: [register],
  });

  /** Make the route's error series exist, at 0, before its first request. */
  function declare(method, route) {
    errors.inc({ method, route }, 0);
  }

  function observe(request, response, next) {
    const started = process.hrtime.bigint();
    response.on('finish', () => {
      const labels = { method: request.method, route: request.route?.path ?? 'unmatched' };
      const seconds = Number(process.hrtime.bigint() - started) / 1e9;
      duration.observe({ ...labels, status: String(response.statusCode) }, seconds);
      if (response.statusCode >= 500) {
        errors.inc(labels);
      }
    });
    next();
  }

  return { register, declare, observe };
}
