/** Condition types by kind; the summary `Ready` and kstatus' two helpers are common to all. */
export const ConditionType = {
  Accepted: 'Accepted',
  ServerCertificateValid: 'ServerCertificateValid',
  AuthenticationConfigured: 'AuthenticationConfigured',
  RevocationListValid: 'RevocationListValid',
  TargetNetworksAssociated: 'TargetNetworksAssociated',
  RoutesSymmetric: 'RoutesSymmetric',
  ConnectHandlerConfigured: 'ConnectHandlerConfigured',
  DNSPublished: 'DNSPublished',
  Programmed: 'Programmed',
  Available: 'Available',
  DataPlaneReady: 'DataPlaneReady',
  /** True when something is worth knowing; absent otherwise. */
  Advisory: 'Advisory',
  Ready: 'Ready',
  Reconciling: 'Reconciling',
  Stalled: 'Stalled',
} as const;
export type ConditionType = (typeof ConditionType)[keyof typeof ConditionType];

/** Reasons of `Accepted=False`. Each is also what `validate` prints. */
export const RejectionReason = {
  InvalidSpec: 'InvalidSpec',
  IdentityProviderNotFound: 'IdentityProviderNotFound',
  QuotaExceeded: 'QuotaExceeded',
  EndpointNotFound: 'EndpointNotFound',
  EndpointDeleting: 'EndpointDeleting',
  ZoneInUse: 'ZoneInUse',
  VpcMismatch: 'VpcMismatch',
  SubnetOverlapsClientCIDR: 'SubnetOverlapsClientCIDR',
  VpcOverlapsClientCIDR: 'VpcOverlapsClientCIDR',
  SubnetTooSmall: 'SubnetTooSmall',
  TargetNetworkNotFound: 'TargetNetworkNotFound',
  TargetNetworkNotAccepted: 'TargetNetworkNotAccepted',
  Duplicate: 'Duplicate',
  OverlapsClientCIDR: 'OverlapsClientCIDR',
  LocalMustBeClientCIDR: 'LocalMustBeClientCIDR',
  GroupsNotSupported: 'GroupsNotSupported',
  GroupOnClientCIDR: 'GroupOnClientCIDR',
} as const;
export type RejectionReason = (typeof RejectionReason)[keyof typeof RejectionReason];

/** Reasons of `Advisory=True`. */
export const AdvisoryReason = {
  NoRoute: 'NoRoute',
  ShadowsAllUsers: 'ShadowsAllUsers',
  DefaultRouteWithSplitTunnel: 'DefaultRouteWithSplitTunnel',
  NotPresentOnAllTargetNetworks: 'NotPresentOnAllTargetNetworks',
  NotServed: 'NotServed',
} as const;
export type AdvisoryReason = (typeof AdvisoryReason)[keyof typeof AdvisoryReason];
