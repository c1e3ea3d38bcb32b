// Liveness and readiness, served on both ports. Ready means: migrated, not draining, database reachable.

import { Router } from 'express';

import { releaseNamed } from './releases.js';

const DATABASE_CHECK_MS = 1000;

export function createHealth(config, pool) {
  const { neverReady } = releaseNamed(config.release);
  const state = { started: false, draining: false };

  async function reasonNotReady() {
    if (state.draining) return 'draining';
    if (!state.started) return 'starting';
    if (neverReady) return 'waiting for the seat cache';
    return (await databaseAnswers(pool)) ? undefined : 'database unreachable';
  }

  const router = Router();
  router.get('/health', (request, response) => {
    response.json({ status: 'ok', release: config.release, uptimeSeconds: Math.round(process.uptime()) });
  });
  router.get('/health/live', (request, response) => {
    response.json({ status: 'ok' });
  });
  router.get('/health/ready', async (request, response) => {
    const reason = await reasonNotReady();
    response.status(reason ? 503 : 200).json(reason ? { status: 'not ready', reason } : { status: 'ok' });
  });

  return { router, state };
}

async function databaseAnswers(pool) {
  let timer;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, DATABASE_CHECK_MS, false);
  });
  const answer = pool.query('SELECT 1').then(
    () => true,
    () => false,
  );
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}
