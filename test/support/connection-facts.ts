import type { ConnectionFacts } from '../../dataplane/sessions/engine-io.ts';

/** Of a login that has come to nothing yet. */
export const ATTEMPT: ConnectionFacts = {
  connectionId: 'cvpn-connection-0123456789abcdef0',
  peerId: null,
  generation: null,
  username: 'alice',
  commonName: 'laptop',
  groups: [],
  clientIp: null,
  remote: '[2001:db8::1]:50096',
  transport: 'udp',
  cipher: null,
  client: { version: '2.6.14', platform: 'linux', ui: '' },
};
