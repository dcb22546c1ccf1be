// The messages of a login that waits for its user, as the stock client understands them: the providers that will send them
// come later, so a provider of ours asks, behind the real engine.
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { LOGIN_PAGE, QUESTION, RIGHT_ANSWER, STATE_ID } from '../support/asking-gateway-main.ts';
import { mint, SERVER_AUTH } from '../support/certificates.ts';
import { LogLines } from '../support/log-lines.ts';
import { GATEWAY_ADDRESS, Lab, LabError } from '../support/netns.ts';
import { skipWithoutNamespaces } from '../support/requirements.ts';
import { StockClient, type Credentials } from '../support/stock-client.ts';

const skip = skipWithoutNamespaces();
const PROGRAM = fileURLToPath(new URL('../support/asking-gateway-main.ts', import.meta.url));

let lab: Lab;
let gateway: ChildProcess;
let profile: string;

before(async () => {
  if (skip !== false) return;
  lab = new Lab({ clients: 1 });
  const authority = await mint({ commonName: 'Asking CA', authority: true });
  const server = await mint({ commonName: 'gateway', issuer: authority, usages: [SERVER_AUTH] });
  gateway = lab.gateway.spawn(process.execPath, [PROGRAM], { stdio: ['pipe', 'pipe', 'inherit'] });
  if (gateway.stdin === null || gateway.stdout === null) throw new LabError('The gateway has no pipes');
  const said = new LogLines();
  said.add(gateway.stdout);
  gateway.stdin.write(`${JSON.stringify(server)}\n`);
  await said.waitFor(/^ready$/);
  profile = ['client', 'dev tun', 'proto udp', `remote ${GATEWAY_ADDRESS} 1194`, 'nobind', 'remote-cert-tls server']
    .concat(
      'auth-user-pass',
      'auth-retry interact',
      'setenv IV_SSO webauth,crtext',
      `<ca>\n${authority.certificatePem}</ca>`,
    )
    .join('\n');
});
after(() => {
  gateway?.kill('SIGKILL');
  lab?.[Symbol.dispose]();
});

/** Runs a client until the test is over. */
async function withClient(credentials: Credentials, run: (client: StockClient) => Promise<void>): Promise<void> {
  using client = new StockClient({ namespace: lab.client(), folder: lab.folder, name: 'client', profile, credentials });
  await run(client);
  await client.connected();
}

test('[P84] a page to log in at reaches the user, and the login goes on when that is done', { skip }, () =>
  withClient({ username: 'page', password: 'none' }, async (client) => {
    await client.log.waitFor(/AUTH_PENDING received/);
    await client.management.waitFor(new RegExp(`^>INFOMSG:WEB_AUTH::${LOGIN_PAGE}$`));
    assert.ok(!client.log.lines.some((line) => line.includes('PUSH_REPLY')));
    gateway.stdin?.write('done\n');
  }),
);

test('[P84] a question reaches the user, and the answer the provider', { skip }, () =>
  withClient({ username: 'question', password: 'none' }, async (client) => {
    await client.management.waitFor(new RegExp(`^>INFOMSG:CR_TEXT:E,R:${QUESTION.replace('?', '\\?')}$`));
    client.tell(`cr-response ${btoa(RIGHT_ANSWER)}`);
  }),
);

test('[P85] a challenge sends the client back with the answer', { skip }, () => {
  const passwords = ['none', `CRV1::${STATE_ID}::${RIGHT_ANSWER}`];
  return withClient({ username: 'challenge', password: () => passwords.shift() ?? '' }, async (client) => {
    const asked = `CRV1:R,E:${STATE_ID}:${btoa('challenge')}:${QUESTION}`;
    await client.management.waitFor(/^>PASSWORD:Verification Failed: 'Auth'/);
    assert.ok(client.management.lines.some((line) => line.includes(`['${asked}']`)));
  });
});
