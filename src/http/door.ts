/** How local clients and the coordinator are reached in one mode. */
export interface Door {
  mode: 'local' | 'linked';
  /** `http://127.0.0.1:8000` */
  url: string;
  port: number;
  /** What local clients show. */
  key: string;
  /** Where the link dials. */
  coordinatorUrl: string;
  /** What the link shows there. */
  linkToken: string;
  /** Resolves when requests can be answered. */
  ready: () => Promise<void>;
  close: () => Promise<void>;
}
