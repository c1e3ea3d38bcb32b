// The two HTTP applications: the API for users, and metrics plus health for the platform.

import { timingSafeEqual } from 'node:crypto';

import express from 'express';

import { log } from './log.js';
import { faultsOf } from './releases.js';
import { parseOrder, parsePurchase } from './requests.js';

const TICKETS = '/api/v1/tickets';

export function createUserApp({ config, store, metrics, health }) {
  const app = bareApp();
  app.use(metrics.observe);
  app.use(closeWhileDraining(health.state));

  const authenticated = authenticate(config.apiToken);
  const json = express.json({ limit: '16kb' });

  function route(method, path, ...handlers) {
    metrics.declare(method.toUpperCase(), path);
    app[method](path, authenticated, ...faultsOf(config, path), ...handlers);
  }

  route('get', TICKETS, async (request, response) => {
    response.json({ tickets: await store.list() });
  });
  route('post', `${TICKETS}/reserve`, json, async (request, response) => {
    response.status(201).json(await store.reserve(parseOrder(request.body)));
  });
  route('post', `${TICKETS}/purchase`, json, async (request, response) => {
    response.status(201).json(await store.purchase(parsePurchase(request.body)));
  });

  app.use(health.router);
  finish(app);
  return app;
}

export function createAdminApp({ metrics, health }) {
  const app = bareApp();
  app.use(health.router);
  app.get('/metrics', async (request, response) => {
    response.type(metrics.register.contentType).send(await metrics.register.metrics());
  });
  finish(app);
  return app;
}

function bareApp() {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  return app;
}

function authenticate(token) {
  const expected = Buffer.from(`Bearer ${token}`);
  return (request, response, next) => {
    const given = Buffer.from(request.headers.authorization ?? '');
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
      response.status(401).json({ error: 'send the header "Authorization: Bearer TOKEN" with the API token' });
      return;
    }
    next();
  };
}

/** Tell clients with a kept-alive connection to open their next one elsewhere. */
function closeWhileDraining(state) {
  return (request, response, next) => {
    if (state.draining) {
      response.set('Connection', 'close');
    }
    next();
  };
}

function finish(app) {
  app.use((request, response) => {
    response.status(404).json({ error: `no ${request.method} ${request.path}` });
  });
  // Express knows an error handler by its four parameters.
  app.use((error, request, response, next) => {
    if (response.headersSent) {
      next(error);
      return;
    }
    const status = error.status ?? 500;
    if (status >= 500) {
      log('ERROR', error.message, { method: request.method, path: request.path });
    }
    const message = status >= 500 ? 'internal error' : error.message;
    response.status(status).json({ error: message });
  });
}
