/**
 * Port 111, where clients ask for the ports of NFS and MOUNT. klibc's `nfsmount`, in Debian's initramfs, asks there and
 * cannot be told otherwise. We answer ourselves; where rpcbind has the port, it answers for us.
 */
import { IPV4_ANY } from "../bytes/addresses.ts";
import { PORTMAP_PORT, PORTMAP_PROGRAM, type PortMapping } from "../nfs/portmap.ts";
import { registerWithPortmapper, unregisterFromPortmapper } from "../nfs/portmap-registration.ts";
import type { Clock, Random, UdpSockets } from "../ports.ts";

export interface PortMapperOptions {
  port: number;
  /** Listens on the port, TCP and UDP, and returns how to stop. Rejects with the system's error, nothing left open. */
  serve(port: number): Promise<() => Promise<void>>;
  mappings: readonly PortMapping[];
  sockets: UdpSockets;
  clock: Clock;
  random: Random;
  onWarning(message: string): void;
}

/**
 * Returns how to stop. When nobody tells the ports in the end, only nodes whose kernel mounts by itself can boot: that
 * is a warning.
 */
export async function startPortMapper(options: PortMapperOptions): Promise<() => Promise<void>> {
  const { port, serve, onWarning } = options;
  try {
    return await serve(port);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const warn = (why: string) => onWarning(`${why}. Nodes that boot with an initramfs need a port mapper there`);
    if (code !== "EADDRINUSE" || port !== PORTMAP_PORT) {
      warn(message);
      return async () => {};
    }
    return register(options).catch((refusal: Error) => {
      warn(`${message}; and as for registering with it: ${refusal.message}`);
      return async () => {};
    });
  }
}

async function register({ sockets, clock, random, mappings }: PortMapperOptions): Promise<() => Promise<void>> {
  const registered = mappings.filter(({ program }) => program !== PORTMAP_PROGRAM);
  const withClient = async (act: typeof registerWithPortmapper) => {
    const socket = await sockets.bind({ address: IPV4_ANY, port: 0 });
    try {
      await act({ socket, clock, random }, registered);
    } finally {
      socket.close();
    }
  };
  await withClient(registerWithPortmapper);
  // An rpcbind that is gone by then has forgotten us anyway.
  return () => withClient(unregisterFromPortmapper).catch(() => {});
}
