// Logins that wait for somebody: what a provider may say through the authenticator's port while it judges, and what the
// client is told. The provider answers in its own time, so each step lets it have its turn.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AuthenticationRequest, AuthenticationVerdict, LoginChallenge } from '../../api/authentication.ts';
import type { Authenticator, LoginDialogue } from '../../dataplane/auth/authenticator.ts';
import type { SimulatedClient } from '../support/simulated-client.ts';
import { grantByCertificate, SimulatedWorld, type WorldOptions } from '../support/simulated-world.ts';

const PAGE = 'https://login.example/l/token';

type Judge = (request: AuthenticationRequest, dialogue: LoginDialogue) => Promise<AuthenticationVerdict>;

function worldJudgedBy(authenticate: Judge, options: WorldOptions = {}): SimulatedWorld {
  const authenticator: Authenticator = { authenticate, reconfigure: () => undefined };
  return new SimulatedWorld({ ...options, authenticator });
}

/** Lets time pass in steps between which the provider has its turn. */
async function pass(world: SimulatedWorld, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= STEP_MS) {
    world.advance(Math.min(left, STEP_MS));
    await new Promise(setImmediate);
  }
}

async function connectingClient(world: SimulatedWorld, sso: string | undefined, config = {}): Promise<SimulatedClient> {
  const peerInfo = { IV_VER: '3.11', IV_CIPHERS: 'AES-256-GCM', ...(sso === undefined ? {} : { IV_SSO: sso }) };
  const client = world.client({ config: { peerInfo, ...config } });
  client.start();
  await pass(world, 1_000);
  return client;
}

function answer(client: SimulatedClient, text: string): void {
  client.handle({ kind: 'controlText', text: `CR_RESPONSE,${btoa(text)}` });
}

for (const [sso, shown] of [
  ['webauth,openurl,crtext', `INFO_PRE,WEB_AUTH::${PAGE}`],
  ['crtext,openurl', `INFO_PRE,OPEN_URL:${PAGE}`],
] as const)
  test(`[P84] a client that knows ${sso} is told to wait and where to log in, then is let in`, async () => {
    const page = Promise.withResolvers<void>();
    const world = worldJudgedBy(async (request, dialogue) => {
      dialogue.wait(120_000, { kind: 'web', url: PAGE });
      await page.promise;
      return grantByCertificate(request);
    });
    const client = await connectingClient(world, sso);
    assert.deepEqual(client.messages, ['AUTH_PENDING,timeout 120', shown]);
    client.handle({ kind: 'controlText', text: 'PUSH_REQUEST' });
    await pass(world, 90_000);
    assert.equal(client.messages.length, 2);
    assert.equal(world.tunnel.peers.size, 0);
    page.resolve();
    await pass(world, 1_000);
    assert.ok(client.machine.isConnected);
  });

test('[P84] a login that nobody completes is refused when its time is over, and its provider told to stop', async () => {
  const signals: AbortSignal[] = [];
  const page = Promise.withResolvers<void>();
  const world = worldJudgedBy(async (request, dialogue) => {
    signals.push(dialogue.signal);
    dialogue.wait(30_000, { kind: 'web', url: PAGE });
    await page.promise;
    return grantByCertificate(request);
  });
  const client = await connectingClient(world, 'webauth');
  await pass(world, 30_000);
  assert.equal(client.messages.at(-1), 'AUTH_FAILED,The login took too long');
  assert.deepEqual(
    signals.map(({ aborted }) => aborted),
    [true],
  );
  page.resolve();
  await pass(world, 10_000);
  assert.deepEqual([world.tunnel.peers.size, world.tls.size, world.engine.stats().opening], [0, 0, 0]);
});

test('of two who wait for their page, only the one whose page is done goes on', async () => {
  const pages: PromiseWithResolvers<void>[] = [];
  const world = worldJudgedBy(async (request, dialogue) => {
    const page = Promise.withResolvers<void>();
    pages.push(page);
    dialogue.wait(60_000, { kind: 'web', url: PAGE });
    await page.promise;
    return grantByCertificate(request);
  });
  const first = await connectingClient(world, 'webauth');
  const second = await connectingClient(world, 'webauth');
  pages[1]?.resolve();
  await pass(world, 1_000);
  assert.deepEqual([first.machine.isConnected, second.machine.isConnected], [false, true]);
});

test('[P84] a question is asked of the user, and the answer reaches the provider', async () => {
  const answers: string[] = [];
  const world = worldJudgedBy(async (request, dialogue) => {
    answers.push(await dialogue.ask(60_000, { kind: 'text', text: 'Code?', echo: false }));
    answers.push(await dialogue.ask(60_000, { kind: 'text', text: 'Colour?', echo: true }));
    return grantByCertificate(request);
  });
  const client = await connectingClient(world, 'crtext');
  answer(client, '123 456');
  await pass(world, 100);
  answer(client, 'blue');
  await pass(world, 1_000);
  assert.deepEqual(client.messages.slice(0, 4), [
    'AUTH_PENDING,timeout 60',
    'INFO_PRE,CR_TEXT:R:Code?',
    'AUTH_PENDING,timeout 61',
    'INFO_PRE,CR_TEXT:E,R:Colour?',
  ]);
  assert.deepEqual(answers, ['123 456', 'blue']);
  assert.ok(client.machine.isConnected);
});

test('a client that is asked again is told how long it may wait in all', async () => {
  const world = worldJudgedBy(async (request, dialogue) => {
    await dialogue.ask(60_000, { kind: 'text', text: 'Code?', echo: false });
    dialogue.wait(60_000, null);
    dialogue.wait(30_000, null);
    await dialogue.ask(500_000, { kind: 'text', text: 'Colour?', echo: true });
    return grantByCertificate(request);
  });
  const client = await connectingClient(world, 'crtext');
  await pass(world, 49_000);
  answer(client, '123456');
  await pass(world, 1_000);
  assert.deepEqual(
    client.messages.filter((text) => text.startsWith('AUTH_PENDING')),
    ['AUTH_PENDING,timeout 60', 'AUTH_PENDING,timeout 110', 'AUTH_PENDING,timeout 300'],
  );
});

test('[P86] an answer counts once, and only while a question stands', async () => {
  const answers: string[] = [];
  const decision = Promise.withResolvers<void>();
  const world = worldJudgedBy(async (request, dialogue) => {
    answers.push(await dialogue.ask(60_000, { kind: 'text', text: 'Code?', echo: false }));
    await decision.promise;
    return grantByCertificate(request);
  });
  const client = await connectingClient(world, 'crtext');
  for (const text of ['1', '2', '3']) answer(client, text);
  await pass(world, 100);
  decision.resolve();
  await pass(world, 1_000);
  answer(client, '4');
  await pass(world, 100);
  assert.deepEqual(answers, ['1']);
  assert.equal(world.engine.stats().drops.get('challenge-response-unasked'), 3);
});

test('a user is asked three times in one login, not more', async () => {
  const world = worldJudgedBy(async (request, dialogue) => {
    for (;;) if ((await dialogue.ask(60_000, { kind: 'text', text: '?', echo: false })) === 'right') break;
    return grantByCertificate(request);
  });
  const client = await connectingClient(world, 'crtext');
  for (let attempt = 0; attempt < 3; attempt += 1) {
    answer(client, 'wrong');
    await pass(world, 100);
  }
  assert.equal(client.messages.filter((text) => text.startsWith('INFO_PRE')).length, 3);
  assert.equal(client.messages.at(-1), 'AUTH_FAILED,Too many attempts');
  assert.equal(world.connections()[0]?.endReason, 'too-many-questions');
});

for (const sso of [undefined, 'openurl', 'proxy'])
  test(`a client that cannot ask its user (IV_SSO ${sso}) is told so, whatever its provider tries`, async () => {
    const offered: string[] = [];
    const world = worldJudgedBy(async (request, dialogue) => {
      offered.push(...request.prompts);
      await dialogue.ask(60_000, { kind: 'text', text: 'Code?', echo: false });
      return grantByCertificate(request);
    });
    const client = await connectingClient(world, sso);
    assert.deepEqual(offered, sso === 'openurl' ? ['web'] : []);
    assert.equal(client.messages.at(-1), 'AUTH_FAILED,This login needs a client that can ask its user');
    assert.ok(client.messages.every((text) => !text.startsWith('INFO_PRE')));
  });

for (const url of ['http://login.example/', `https://login.example/${'x'.repeat(900)}`, 'https://a/\nEXIT'])
  test(`sends nobody to a page such as ${url.slice(0, 24).replace('\n', '\\n')}`, async () => {
    const world = worldJudgedBy(async (request, dialogue) => {
      dialogue.wait(60_000, { kind: 'web', url });
      return grantByCertificate(request);
    });
    const client = await connectingClient(world, 'webauth');
    assert.ok(client.messages.every((text) => !text.startsWith('INFO_PRE')));
    assert.equal(world.tunnel.peers.size, 0);
  });

function challengedBy(challenge: LoginChallenge): SimulatedWorld {
  return worldJudgedBy(async () => ({ kind: 'challenged', challenge }));
}

test('a challenge ends the connection with the question, and leaves nothing behind', async () => {
  const world = challengedBy({ stateId: 'i-1/2_3.4', text: 'Your code,\nplease:', answer: 'shown' });
  const client = await connectingClient(world, undefined, { username: 'bob' });
  assert.deepEqual(client.messages, [`AUTH_FAILED,CRV1:R,E:i-1/2_3.4:${btoa('bob')}:Your code, please:`]);
  assert.equal(world.eventsOf('connectionAttemptChallenged').length, 1);
  assert.deepEqual(world.connections(), []);
  await pass(world, 6_000);
  assert.deepEqual([world.tunnel.peers.size, world.tls.size, world.engine.stats().opening], [0, 0, 0]);
});

test('the AWS client gets a long address in the form that it knows; a stock client could not read it', async () => {
  const text = `https://idp.example/?SAMLRequest=${'A'.repeat(3000)}`;
  const challenge = { stateId: 'state', text, answer: 'hidden' } as const;
  const aws = { framing: 'aws', username: 'N/A', password: 'ACS::35001' } as const;
  const federated = await connectingClient(challengedBy(challenge), undefined, aws);
  assert.deepEqual(federated.messages, [`AUTH_FAILED,CRV1:R:state:b'Ti9B':${text}`]);
  const stock = await connectingClient(challengedBy(challenge), undefined);
  assert.deepEqual(stock.messages, ['AUTH_FAILED,This login needs a client that can ask its user']);
});

test('a temporary refusal says when to come back to those who understand', async () => {
  for (const [protocolBits, message] of [
    [990, 'AUTH_FAILED,TEMP[backoff 15,advance addr]:busy'],
    [6, 'AUTH_FAILED,busy'],
  ] as const) {
    const world = worldJudgedBy(async () => ({
      kind: 'denied',
      reason: 'overloaded',
      message: 'busy',
      certificateRefused: false,
      isTemporary: true,
    }));
    const client = await connectingClient(world, undefined, { protocolBits });
    assert.deepEqual(client.messages, [message]);
  }
});

const STEP_MS = 50;
