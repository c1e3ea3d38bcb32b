// What is wrong with which release: the faults as data, and the small pieces that bring them about.
// Nothing else in the service knows that some of its releases are broken on purpose.

const PURCHASE = '/api/v1/tickets/purchase';
const RESERVE = '/api/v1/tickets/reserve';

export const RELEASES = {
  'v1.2.3': {},
  'v1.3.0': { failShare: { [PURCHASE]: 1 } },
  'v1.3.1': { failShare: { [PURCHASE]: 0.2, [RESERVE]: 0.2 } },
  'v1.3.2': { slow: true },
  'v1.3.3': { leaks: true },
  'v1.3.4': { neverReady: true },
  'v1.3.5': { portOffset: 1 },
  // Healthy until FEATURE_NEW_CHECKOUT is on: the cure is the flag, not the release.
  'v1.3.6': { failShareOfNewCheckout: 0.5 },
  // Brings a migration with it, so going back has to look at the database first.
  'v1.3.7': { failShare: { [PURCHASE]: 1 }, lastMigration: '004_add_seat_label' },
  // Marks sold tickets as invalid while it runs; every request is answered well.
  'v1.3.8': { damages: true },
  // Knows another form of an order: clients that were good until now are refused.
  'v1.3.9': { refuses: [PURCHASE, RESERVE] },
  'v1.4.0': {},
  // Its migration ends, after a while, what v1.2.3 lives by: going back is no cure.
  'v1.5.0': { failShare: { [PURCHASE]: 1 }, lastMigration: '005_retire_classic_checkout' },
};

const DEFAULTS = {
  failShare: {},
  failShareOfNewCheckout: 0,
  slow: false,
  leaks: false,
  damages: false,
  refuses: [],
  neverReady: false,
  portOffset: 0,
  lastMigration: '003_index_ticket_status',
};

/** The release's faults with every default filled in, or undefined for an unknown name. */
export function releaseNamed(name) {
  return Object.hasOwn(RELEASES, name) ? { ...DEFAULTS, ...RELEASES[name] } : undefined;
}

/** Middleware for one route of a release; an empty list where the release is clean. */
export function faultsOf(config, route) {
  const release = releaseNamed(config.release);
  const middleware = [];
  if (release.slow) {
    middleware.push(delay(config.slowMs));
  }
  if (release.refuses.includes(route)) {
    middleware.push(refusing);
  }
  const share = failShare(release, config, route);
  if (share > 0) {
    middleware.push(failing(share, config.release));
  }
  return middleware;
}

/** Fill memory outside V8's heap, so that the kernel ends the process and not V8. Returns a stop function. */
export function startLeak(mibPerSecond) {
  const kept = [];
  const bytes = Math.round((mibPerSecond * 1024 * 1024) / 10);
  const timer = setInterval(() => kept.push(Buffer.alloc(bytes, 1)), 100);
  return () => clearInterval(timer);
}

/** Mark tickets that were sold as invalid, one each second. Returns a stop function. */
export function startDamage(pool) {
  const timer = setInterval(() => {
    const text = `UPDATE tickets SET status = 'invalid'
                  WHERE id = (SELECT id FROM tickets WHERE status = 'sold' LIMIT 1)`;
    pool.query(text).catch(() => {}); // it is what the release does beside its work
  }, 1000);
  return () => clearInterval(timer);
}

function refusing(request, response) {
  response.status(400).json({ error: 'an order names items, not tickets' });
}

function failShare(release, config, route) {
  if (route === PURCHASE && config.newCheckout && release.failShareOfNewCheckout > 0) {
    return release.failShareOfNewCheckout;
  }
  return release.failShare[route] ?? 0;
}

function delay(milliseconds) {
  return (request, response, next) => {
    setTimeout(next, milliseconds * (1 + Math.random() / 4));
  };
}

function failing(share, release) {
  return (request, response, next) => {
    if (Math.random() < share) {
      throw new TypeError(`Cannot read properties of undefined (reading 'price') in ${release}`);
    }
    next();
  };
}
