/** What goes into one exported client file. Everything inline is PEM or the text of an OpenVPN key file. */
export interface ClientProfile {
  /** A DNS name or an IP address clients can reach; IPv6 without brackets. */
  readonly remoteHost: string;
  /** Whether any name below the host leads to it too. */
  readonly wildcardDns: boolean;
  readonly port: number;
  readonly transport: 'udp' | 'tcp';
  /** The CA that the server's certificate is verified against. */
  readonly serverCaPem: string;
  /** Null: no client certificates. `placeholder`: the person pastes their own. */
  readonly clientCertificate: { readonly certificatePem: string; readonly keyPem: string } | 'placeholder' | null;
  /** Null: no user name and password. */
  readonly userLogin: { readonly mfaPrompt: string | null } | null;
  readonly controlWrap:
    | { readonly kind: 'None' }
    | { readonly kind: 'TlsAuth' | 'TlsCrypt'; readonly staticKey: string }
    | { readonly kind: 'TlsCryptV2'; readonly clientKeyPem: string };
}

/**
 * Writes the text of a client file (.ovpn), line feeds only, that stock clients take as it is.
 *
 * `remote-random-hostname` makes a client look up a random name below the host, never the host
 * itself (seen with 2.6.14), so it stands only where there is a wildcard record: without one nobody could connect.
 * `reneg-sec` is left out on purpose: 0 would cap a pending login at 60 s. `tls-timeout 1` has 2.x send again what was
 * lost of a login after 1, 3, 7 and 15 s, not 2, 6, 14 and 30; OpenVPN 3 has no longer waits anyway. Who hears nothing
 * looks the name up again and tries the next gateway after 10 s, not 120 as 2.x would by itself. Between two tries it waits
 * 15 s at most, not up to 300, so that everybody is back soon after a long outage; and no less, because this also bounds
 * the pause that a full endpoint asks for.
 */
export function clientProfileText(profile: ClientProfile): string {
  const lines = [
    'client',
    'dev tun',
    `proto ${profile.transport}`,
    `remote ${profile.remoteHost} ${profile.port}`,
    ...(profile.wildcardDns && isWildcardCapable(profile.remoteHost) ? randomHostnameLines(profile.remoteHost) : []),
    'resolv-retry infinite',
    'nobind',
    ...(profile.transport === 'udp' ? ['tls-timeout 1'] : []),
    'server-poll-timeout 10',
    'connect-retry 1 15',
    'remote-cert-tls server',
    'cipher AES-256-GCM',
    'verb 3',
    ...inline('ca', profile.serverCaPem),
    ...clientCertificateLines(profile.clientCertificate),
    ...userLoginLines(profile.userLogin),
    ...controlWrapLines(profile.controlWrap),
  ];
  return `${lines.join('\n')}\n`;
}

function randomHostnameLines(host: string): readonly string[] {
  return [
    `# Looks up RANDOM.${host}: needs the DNS record *.${host}; without it, delete the next line.`,
    'remote-random-hostname',
  ];
}

/** Whether names below the host can exist: false for addresses and for single labels such as `localhost`. */
export function isWildcardCapable(host: string): boolean {
  const isAddress = host.includes(':') || /^[0-9.]+$/.test(host);
  return !isAddress && host.replace(/\.$/, '').includes('.');
}

function clientCertificateLines(certificate: ClientProfile['clientCertificate']): readonly string[] {
  if (certificate === null) return [];
  if (certificate === 'placeholder')
    return [...inline('cert', CERTIFICATE_PLACEHOLDER), ...inline('key', KEY_PLACEHOLDER)];
  return [...inline('cert', certificate.certificatePem), ...inline('key', certificate.keyPem)];
}

function userLoginLines(login: ClientProfile['userLogin']): readonly string[] {
  if (login === null) return [];
  return login.mfaPrompt === null
    ? ['auth-user-pass']
    : ['auth-user-pass', `static-challenge ${quoted(login.mfaPrompt)} 1`];
}

function controlWrapLines(wrap: ClientProfile['controlWrap']): readonly string[] {
  switch (wrap.kind) {
    case 'None':
      return [];
    case 'TlsAuth':
      return ['auth SHA256', 'key-direction 1', ...inline('tls-auth', wrap.staticKey)];
    case 'TlsCrypt':
      return inline('tls-crypt', wrap.staticKey);
    case 'TlsCryptV2':
      return inline('tls-crypt-v2', wrap.clientKeyPem);
  }
}

function inline(tag: string, text: string): readonly string[] {
  return [`<${tag}>`, ...text.replaceAll('\r', '').trim().split('\n'), `</${tag}>`];
}

/** A quoted argument of the client's configuration language: backslash escapes backslash and quote. */
function quoted(text: string): string {
  return `"${text.replace(/[\\"]/g, '\\$&').replace(/\p{Cc}/gu, ' ')}"`;
}

const CERTIFICATE_PLACEHOLDER = 'Contents of the client certificate (.crt) file';
const KEY_PLACEHOLDER = 'Contents of the private key (.key) file';
