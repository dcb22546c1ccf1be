// `make demo`: a gateway, a web server and a real OpenVPN client in namespaces of their own; shows what rules do and
// cleans up after itself. Nothing outside the namespaces is touched.
import { Agent } from '../support/agent.ts';
import { waitForProgress, waitUntilFlowStopped } from '../support/flows.ts';
import { clientvpn, Gateway } from '../support/gateway.ts';
import { endpoint, ENDPOINT, route, rule, targetNetwork, yamlOf } from '../support/manifests.ts';
import { Lab, TARGETS } from '../support/netns.ts';
import { missingForNamespaceTests } from '../support/requirements.ts';
import { StockClient } from '../support/stock-client.ts';
import { waitFor } from '../support/wait.ts';

const ALLOWED = TARGETS.vpc;
const REFUSED = TARGETS.onPremises;
const VPC_RULE = rule('192.168.0.0/24');
const ON_PREMISES_RULE = rule('172.16.0.0/24');

const missing = missingForNamespaceTests();
if (missing.length > 0) {
  console.error(`The demo needs ${missing.join(', ')}`);
  process.exit(1);
}

try {
  await show();
} catch (error) {
  console.error(error);
  process.exitCode = 1;
}
process.exit();

async function show(): Promise<void> {
  title('A client, a gateway and a network with a web server, each in a namespace');
  using lab = new Lab({ clients: 1 });
  using target = new Agent(lab.target);
  await target.serve(Object.values(TARGETS));

  await using gateway = new Gateway({
    lab,
    manifests: {
      'endpoint.yaml': yamlOf(endpoint(), targetNetwork(), route('172.16.0.0/24')),
      'rules.yaml': yamlOf(VPC_RULE),
    },
  });
  await gateway.start();
  say(`the gateway serves ${ENDPOINT}; routes lead to 192.168.0.0/24 and 172.16.0.0/24, one rule allows the first`);

  title('A stock OpenVPN client connects with the file that client-config writes');
  const client = new StockClient({
    namespace: lab.client(),
    folder: lab.folder,
    name: 'laptop',
    profile: gateway.clientConfig({ client: 'laptop' }),
  });
  await client.connected();
  say(`connected; its tunnel address is ${client.tunnelAddress()}`);
  for (const { dst } of client.routes().filter(({ dev }) => dev === 'tun0'))
    say(`  its routes into the tunnel: ${dst}`);

  title('It reaches what the rules allow, and nothing else');
  using agent = new Agent(lab.client());
  await fetchAndSay(agent, ALLOWED);
  await fetchAndSay(agent, REFUSED);
  for (const line of explain(gateway)) say(`  explain: ${line}`);

  title('A rule is added to rules.yaml while the client is connected');
  const added = performance.now();
  gateway.write('rules.yaml', yamlOf(VPC_RULE, ON_PREMISES_RULE));
  await waitFor('the rule to hold', () => agent.reaches(REFUSED));
  say(`${REFUSED} answered ${Math.round(performance.now() - added)} ms after the edit`);

  title('The rule is taken away again while a download runs');
  const download = await agent.download(REFUSED);
  const other = await agent.download(ALLOWED);
  await waitForProgress(download);
  gateway.write('rules.yaml', yamlOf(VPC_RULE));
  const seconds = await waitUntilFlowStopped(download);
  await waitForProgress(other);
  say(
    `the download from ${REFUSED} stopped ${Math.round(seconds * 1000)} ms after the edit; the one from ${ALLOWED} goes on`,
  );

  title('The same connection all along');
  process.stdout.write(clientvpn('connections', '--state-dir', gateway.stateDir).stdout.replace(/^/gm, '    '));
  say(`the client shook hands ${client.keyExchanges() === 1 ? 'once' : `${client.keyExchanges()} times`}`);

  title('Everything ends and is undone');
  await client.stop();
  say(`the gateway's exit status is ${await gateway.stop()}`);
}

async function fetchAndSay(agent: Agent, host: string): Promise<void> {
  const { seenAs, error, seconds } = await agent.fetch(host);
  const outcome = error === null ? `answered, and saw the client as ${seenAs}` : `refused (${error})`;
  say(`http://${host}/ ${outcome}, after ${Math.round(seconds * 1000)} ms`);
}

function explain({ manifests }: Gateway): string[] {
  const arguments_ = ['explain', '--manifests', manifests, '--endpoint', ENDPOINT, '--to', ALLOWED, REFUSED];
  return clientvpn(...arguments_)
    .stdout.trim()
    .split('\n');
}

function title(text: string): void {
  console.log(`\n== ${text}`);
}

function say(text: string): void {
  console.log(`    ${text}`);
}
