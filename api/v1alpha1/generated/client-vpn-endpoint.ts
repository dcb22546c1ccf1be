// Generated from crds/ by `make generate`; do not edit.
import type {Condition} from '../condition.ts';
import type {ObjectMeta} from '../object-meta.ts';

/**
 * A place where people connect with an OpenVPN client. It decides how they prove who they are, which addresses they get and what they are told; target networks, routes and authorization rules that name it decide what they reach.
 */
export interface ClientVpnEndpoint {
  readonly apiVersion: 'clientvpn.dev/v1alpha1';
  readonly kind: 'ClientVpnEndpoint';
  readonly metadata: ObjectMeta;
  readonly spec: ClientVpnEndpointSpec;
  readonly status?: ClientVpnEndpointStatus;
}
/**
 * What the endpoint shall be.
 */
export interface ClientVpnEndpointSpec {
  /**
   * Free text for people.
   */
  readonly description?: string;
  /**
   * The IPv4 network, /12 to /22, from which clients get their addresses. It must not overlap the VPC and can't be changed later.
   */
  readonly clientCIDR: string;
  /**
   * The certificate by which clients recognise the endpoint.
   */
  readonly serverCertificate: {
    /**
     * A Secret of type `kubernetes.io/tls` with `tls.crt` and `tls.key`. Its optional key `ca.crt` is put into the client file.
     */
    readonly secretRef: {
      /**
       * Name of the Secret in the endpoint's namespace.
       */
      readonly name: string;
    };
  };
  /**
   * How people prove who they are. `mutual` may stand alone or together with one of the user-based methods. Can't be changed later; what the references name may be.
   */
  readonly authentication: {
    /**
     * Every client needs a certificate of the client CA.
     */
    readonly mutual?: {
      /**
       * Where the CA bundle is that signs client certificates.
       */
      readonly clientCA: {
        /**
         * A Secret in the endpoint's namespace; may be that of the server certificate.
         */
        readonly secretRef?: {
          /**
           * Name of the Secret.
           */
          readonly name: string;
          /**
           * The key that holds the PEM bundle.
           */
          readonly key: string;
        };
        /**
         * A ConfigMap in the endpoint's namespace.
         */
        readonly configMapRef?: {
          /**
           * Name of the ConfigMap.
           */
          readonly name: string;
          /**
           * The key that holds the PEM bundle.
           */
          readonly key: string;
        };
      };
    };
    /**
     * User name and password, checked against a directory.
     */
    readonly activeDirectory?: {
      /**
       * An IdentityProvider of type `ActiveDirectory`.
       */
      readonly identityProviderRef: {
        /**
         * Name of the IdentityProvider in the endpoint's namespace.
         */
        readonly name: string;
      };
    };
    /**
     * Single sign-on through SAML.
     */
    readonly federated?: {
      /**
       * An IdentityProvider of type `Saml`.
       */
      readonly identityProviderRef: {
        /**
         * Name of the IdentityProvider in the endpoint's namespace.
         */
        readonly name: string;
      };
      /**
       * Another IdentityProvider of type `Saml`, for the self-service portal only.
       */
      readonly selfServiceIdentityProviderRef?: {
        /**
         * Name of the IdentityProvider in the endpoint's namespace.
         */
        readonly name: string;
      };
    };
    /**
     * User name and password, checked against users kept in a Secret.
     */
    readonly local?: {
      /**
       * An IdentityProvider of type `Local`.
       */
      readonly identityProviderRef: {
        /**
         * Name of the IdentityProvider in the endpoint's namespace.
         */
        readonly name: string;
      };
    };
  };
  /**
   * Whether clients connect over UDP or TCP. Can't be changed later.
   */
  readonly transport: 'udp' | 'tcp';
  /**
   * Hides the handshake from those without the key that client files then carry. `TlsCryptV2` gives each file a key of its own. Can't be changed later.
   */
  readonly controlWrap: 'None' | 'TlsAuth' | 'TlsCrypt' | 'TlsCryptV2';
  /**
   * The Secret with `tls-auth.key`, `tls-crypt.key` or `tls-crypt-v2-server.key`. Made when absent.
   */
  readonly controlWrapSecretRef?: {
    /**
     * Name of the Secret in the endpoint's namespace.
     */
    readonly name: string;
  };
  /**
   * Whether clients are told to cut themselves off from their local network.
   */
  readonly blockLocal: boolean;
  /**
   * The port on which clients connect.
   */
  readonly port: 443 | 1194;
  /**
   * Whether only the endpoint's routes go through the tunnel (true) or all of a client's traffic (false).
   */
  readonly splitTunnel: boolean;
  /**
   * Up to two IPv4 addresses of name servers that clients are told to use.
   */
  readonly dnsServers?: readonly string[];
  /**
   * The network behind the target networks. May be left to the target networks; those of one endpoint share one.
   */
  readonly vpc?: {
    /**
     * The name by which target networks agree on their network; a DNS label.
     */
    readonly name: string;
    /**
     * Its IPv4 networks. Each becomes a route of every target network by itself.
     */
    readonly cidrs?: readonly string[];
  };
  /**
   * Labels for the data-plane pods, by which network policies admit the endpoint's clients. Empty means the default group.
   */
  readonly securityGroups?: readonly {
    /**
     * Name of the group.
     */
    readonly name: string;
    /**
     * Labels put on the pods.
     */
    readonly labels?: {
      readonly [k: string]: string;
    };
  }[];
  /**
   * One log line for each connection that is made, refused or ended.
   */
  readonly connectionLogging?: {
    /**
     * Whether connections are logged.
     */
    readonly enabled: boolean;
    /**
     * Log group that stands in each line, as `log-group`.
     */
    readonly group?: string;
    /**
     * Log stream that stands in each line, as `log-stream`; by default `<endpoint id>/<date>` beside a group.
     */
    readonly stream?: string;
    /**
     * Where the lines go.
     */
    readonly sinks: readonly {
      /**
       * Kind of sink.
       */
      readonly type: 'Stdout' | 'OTLP' | 'HTTP';
      /**
       * URL of the sink.
       */
      readonly endpoint?: string;
      /**
       * Secret with the credentials for the sink.
       */
      readonly secretRef?: {
        /**
         * Name of the Secret in the endpoint's namespace.
         */
        readonly name: string;
      };
    }[];
  };
  /**
   * A service of yours that is asked before each connection and may refuse it.
   */
  readonly clientConnectHandler?: {
    /**
     * Whether the handler is asked.
     */
    readonly enabled: boolean;
    /**
     * Address of the handler, https only.
     */
    readonly url?: string;
    /**
     * The handler as a Service of this cluster.
     */
    readonly serviceRef?: {
      /**
       * Namespace of the Service; by default the endpoint's.
       */
      readonly namespace?: string;
      /**
       * Name of the Service.
       */
      readonly name: string;
      /**
       * Port of the Service.
       */
      readonly port: number;
      /**
       * Path of the request.
       */
      readonly path: string;
    };
    /**
     * CA bundle that signs the handler's certificate.
     */
    readonly caBundleRef?: {
      /**
       * Name of the ConfigMap in the endpoint's namespace.
       */
      readonly name: string;
      /**
       * The key that holds the PEM bundle.
       */
      readonly key: string;
    };
    /**
     * Secret with a bearer token, client certificate or HMAC key for the handler.
     */
    readonly authSecretRef?: {
      /**
       * Name of the Secret in the endpoint's namespace.
       */
      readonly name: string;
    };
    /**
     * How long an answer may take; no answer refuses the connection.
     */
    readonly timeoutSeconds: number;
  };
  /**
   * A web page where people fetch their client file.
   */
  readonly selfServicePortal?: {
    /**
     * Whether the portal is served. Needs a user-based method.
     */
    readonly enabled: boolean;
  };
  /**
   * After how many hours a session must prove itself anew.
   */
  readonly sessionTimeoutHours: 8 | 10 | 12 | 24;
  /**
   * Whether a session that reaches its limit ends for good instead of reconnecting by itself.
   */
  readonly disconnectOnSessionTimeout: boolean;
  /**
   * A text shown when a session starts.
   */
  readonly clientLoginBanner?: {
    /**
     * Whether the text is shown.
     */
    readonly enabled: boolean;
    /**
     * Up to 1,400 characters.
     */
    readonly text?: string;
  };
  /**
   * Client certificates that are no longer accepted. An expired or unusable list refuses all new connections.
   */
  readonly clientCertificateRevocationList?: {
    /**
     * Where the list is.
     */
    readonly source: {
      /**
       * A Secret in the endpoint's namespace.
       */
      readonly secretRef?: {
        /**
         * Name of the Secret.
         */
        readonly name: string;
        /**
         * The key that holds the list; its ending tells PEM, DER and gzip apart.
         */
        readonly key: string;
      };
      /**
       * A ConfigMap in the endpoint's namespace.
       */
      readonly configMapRef?: {
        /**
         * Name of the ConfigMap.
         */
        readonly name: string;
        /**
         * The key that holds the list; its ending tells PEM, DER and gzip apart.
         */
        readonly key: string;
      };
      /**
       * A web server.
       */
      readonly url?: {
        /**
         * Address of the list, https only.
         */
        readonly href: string;
        /**
         * CA bundle that signs the web server's certificate.
         */
        readonly caBundleRef?: {
          /**
           * Name of the ConfigMap in the endpoint's namespace.
           */
          readonly name: string;
          /**
           * The key that holds the PEM bundle.
           */
          readonly key: string;
        };
        /**
         * How often the list is fetched, such as `1h` or `15m`.
         */
        readonly refreshInterval: string;
      };
    };
  };
  /**
   * `Minimal` lets a change touch only the sessions it must; `Guide` resets all connections on the changes for which AWS does.
   */
  readonly resetPolicy: 'Minimal' | 'Guide';
  /**
   * What becomes of the routes that were added by hand when their target network goes.
   */
  readonly routeDeletionPolicy: 'Delete' | 'Retain';
  /**
   * Publication of the endpoint's name.
   */
  readonly dns?: {
    /**
     * The domain under which the name is published.
     */
    readonly domain: string;
    /**
     * Whether any label below the name resolves too.
     */
    readonly wildcard: boolean;
    /**
     * How long resolvers may keep the answer.
     */
    readonly ttlSeconds: number;
  };
  /**
   * How the pods run that carry the traffic.
   */
  readonly dataPlane: {
    /**
     * Pods for each target network.
     */
    readonly replicasPerTargetNetwork: number;
    /**
     * A number of pods that follows the number of connections.
     */
    readonly autoscaling?: {
      /**
       * Fewest pods for each target network.
       */
      readonly minReplicas: number;
      /**
       * Most pods for each target network.
       */
      readonly maxReplicas: number;
      /**
       * Connections per pod to aim at.
       */
      readonly targetConnectionsPerPod?: number;
    };
    /**
     * How clients reach the pods.
     */
    readonly exposure: 'LoadBalancerPerPod' | 'LoadBalancerPerTargetNetwork' | 'NodePort' | 'HostPort';
    /**
     * Annotations for the Services that expose the pods.
     */
    readonly annotations?: {
      readonly [k: string]: string;
    };
    /**
     * Class of the load balancers.
     */
    readonly loadBalancerClass?: string;
    /**
     * Seconds over which clients are moved when they must be.
     */
    readonly drainSeconds: number;
    /**
     * Requests and limits of the data-plane container.
     */
    readonly resources?: {
      /**
       * What the container is sure to get.
       */
      readonly requests?: {
        readonly [k: string]: string | number;
      };
      /**
       * What the container may use at most.
       */
      readonly limits?: {
        readonly [k: string]: string | number;
      };
    };
    /**
     * Labels of the nodes on which the pods may run.
     */
    readonly nodeSelector?: {
      readonly [k: string]: string;
    };
    /**
     * Taints that the pods tolerate.
     */
    readonly tolerations?: readonly {
      /**
       * Key of the taint; empty matches all.
       */
      readonly key?: string;
      /**
       * How key and value are matched.
       */
      readonly operator?: 'Exists' | 'Equal';
      /**
       * Value of the taint.
       */
      readonly value?: string;
      /**
       * Effect of the taint; empty matches all.
       */
      readonly effect?: 'NoSchedule' | 'PreferNoSchedule' | 'NoExecute';
      /**
       * For how long a `NoExecute` taint is tolerated.
       */
      readonly tolerationSeconds?: number;
    }[];
    /**
     * Priority class of the pods.
     */
    readonly priorityClassName?: string;
    /**
     * Another image, if the operator's configuration allows one.
     */
    readonly image?: string;
    /**
     * How the pods come by their tunnel device.
     */
    readonly tunDevice: 'Auto' | 'DevicePlugin' | 'HostPath' | 'InitMknod';
  };
  /**
   * Most bits per second for one connection, such as `10M`; without it there is no cap.
   */
  readonly bandwidthPerConnection?: string | number;
}
/**
 * What the endpoint is.
 */
export interface ClientVpnEndpointStatus {
  /**
   * The id that users, logs and the connect handler see.
   */
  readonly endpointID?: string;
  /**
   * State in the words of AWS Client VPN.
   */
  readonly state?: 'pending-associate' | 'available' | 'deleting';
  /**
   * The name under which clients find the endpoint.
   */
  readonly dnsName?: string;
  /**
   * Where the endpoint is reached.
   */
  readonly addresses?: readonly {
    /**
     * Zone of the pod.
     */
    readonly zone?: string;
    /**
     * Name of the pod.
     */
    readonly pod?: string;
    /**
     * Address.
     */
    readonly ip?: string;
    /**
     * Name, where the load balancer has no address.
     */
    readonly hostname?: string;
    /**
     * Port.
     */
    readonly port?: number;
    /**
     * Whether clients are being moved away.
     */
    readonly draining?: boolean;
  }[];
  /**
   * Where people fetch their client file.
   */
  readonly selfServicePortalURL?: string;
  /**
   * The network that the endpoint is associated with.
   */
  readonly vpcName?: string;
  /**
   * Names of the groups in force.
   */
  readonly securityGroups?: readonly string[];
  /**
   * The certificate in use.
   */
  readonly serverCertificate?: {
    /**
     * Its subject.
     */
    readonly subject?: string;
    /**
     * Its alternative names.
     */
    readonly sans?: readonly string[];
    /**
     * When it ends.
     */
    readonly notAfter?: string;
    /**
     * SHA-256 of the certificate.
     */
    readonly fingerprint?: string;
  };
  /**
   * The revocation list in use.
   */
  readonly crl?: {
    /**
     * When the next list is due.
     */
    readonly notAfter?: string;
    /**
     * Days until then.
     */
    readonly daysToExpiry?: number;
    /**
     * Revoked certificates.
     */
    readonly entries?: number;
    /**
     * SHA-256 of the list.
     */
    readonly digest?: string;
  };
  /**
   * Accepted objects of the endpoint.
   */
  readonly counts?: {
    /**
     * Target networks.
     */
    readonly targetNetworks?: number;
    /**
     * Routes, automatic ones among them.
     */
    readonly routes?: number;
    /**
     * Authorization rules.
     */
    readonly authorizationRules?: number;
  };
  /**
   * Limits and what is used of them.
   */
  readonly quotas?: {
    /**
     * Routes added by hand.
     */
    readonly routes?: {
      /**
       * Most that are accepted.
       */
      readonly limit?: number;
      /**
       * How many count.
       */
      readonly used?: number;
    };
    /**
     * Authorization rules.
     */
    readonly authorizationRules?: {
      /**
       * Most that are accepted.
       */
      readonly limit?: number;
      /**
       * How many count.
       */
      readonly used?: number;
    };
    /**
     * Connections at a time.
     */
    readonly connections?: {
      /**
       * Most that are accepted.
       */
      readonly limit?: number;
      /**
       * How many there are, rounded.
       */
      readonly used?: number;
    };
  };
  /**
   * Connections, rounded and refreshed at most every 30 seconds.
   */
  readonly connections?: {
    /**
     * Open connections.
     */
    readonly active?: number;
    /**
     * Most that can be open.
     */
    readonly capacity?: number;
    /**
     * The same for each target network.
     */
    readonly perTargetNetwork?: readonly {
      /**
       * Target network.
       */
      readonly name?: string;
      /**
       * Open connections.
       */
      readonly active?: number;
    }[];
  };
  /**
   * The compiled state that the pods enforce.
   */
  readonly snapshot?: {
    /**
     * Its version.
     */
    readonly version?: number;
    /**
     * Its digest.
     */
    readonly digest?: string;
    /**
     * Pods that shall enforce it.
     */
    readonly desiredPods?: number;
    /**
     * Pods that do.
     */
    readonly updatedPods?: number;
    /**
     * How long the last change took to reach all pods.
     */
    readonly lastPropagationMillis?: number;
  };
  /**
   * The generation of the spec that this status is about.
   */
  readonly observedGeneration?: number;
  /**
   * Findings, one for each aspect; `Ready` sums them up.
   */
  readonly conditions?: readonly Condition[];
}
