/** Who else answers DHCP, and with what. */
import type { BootOffer } from "./boot-offer.ts";
import type { DhcpAnswers, DoctorFacts, NetworkFacts, NetworkPlace } from "./facts.ts";
import type { Finding } from "./finding.ts";
import { isIn } from "./network-checks.ts";

/** Boot files of PCs: PXELINUX, GRUB, iPXE, Windows. */
const X86_BOOT_FILE =
  /(pxelinux|lpxelinux|gldr|grub|ipxe|undionly|snponly|bootmgr|wdsnbp|syslinux|netboot\.xyz)|\.(kpxe|kkpxe|pxe|efi|0|com|n12|lkrn|bios)$/i;

export function checkDhcp(network: NetworkFacts, facts: DoctorFacts): Finding[] {
  if (!("seen" in network.dhcp)) return [];
  const answers = network.dhcp.seen;
  return [
    ...checkServers(network, facts, answers),
    ...answers.offers.flatMap((offer) => [
      ...checkSubnet(offer, network),
      ...checkBootFile(offer),
      ...(facts.wanted.dhcp === "external" ? [] : checkOtherBootServer(offer, network)),
    ]),
    ...(facts.wanted.dhcp === "external" ? checkExternal(answers, network) : []),
  ];
}

/** One of each server: it may answer twice. */
function addressGivers({ offers }: DhcpAnswers): BootOffer[] {
  const givers = offers.filter(({ address }) => address !== undefined);
  return [...new Map(givers.map((offer) => [`${offer.server} ${offer.serverMac}`, offer])).values()];
}

function checkServers({ interfaceName }: NetworkPlace, { wanted }: DoctorFacts, answers: DhcpAnswers): Finding[] {
  const givers = addressGivers(answers);
  const waited = `${answers.waitedMs / 1000} s`;
  if (givers.length === 0) {
    if (wanted.dhcp === "server") return [];
    return [
      {
        id: "dhcp-from-nobody",
        severity: "error",
        what: "Nobody gives addresses in this network",
        evidence: `no DHCP server answered a DISCOVER on ${interfaceName} within ${waited}; one on this machine itself would not be heard`,
        remedy:
          wanted.dhcp === "proxy"
            ? "dhcp: proxy needs a router that does; is it on, and in the same segment? Otherwise dhcp: server"
            : "start the DHCP server, or use dhcp: server",
      },
    ];
  }
  const isOneTooMany = wanted.dhcp === "server" || givers.length > 1;
  if (!isOneTooMany) return [];
  return [
    {
      id: "dhcp-several-servers",
      severity: "error",
      what:
        wanted.dhcp === "server"
          ? "Another DHCP server gives addresses in this network"
          : `${givers.length} DHCP servers give addresses in this network`,
      evidence: `${givers.map(describe).join("; ")}, on ${interfaceName}`,
      remedy:
        wanted.dhcp === "server"
          ? "dhcp: proxy and leave addresses to it, or switch it off"
          : "keep one: a Pi takes whichever answers first. A travel router or a virtual machine is often the second",
    },
  ];
}

function describe({ server, serverMac, address }: BootOffer): string {
  return `${server} (${serverMac}) offers ${address}`;
}

function checkSubnet(offer: BootOffer, { address, netmask, interfaceName }: NetworkPlace): Finding[] {
  if (offer.address === undefined || isIn(offer.address, address, netmask)) return [];
  return [
    {
      id: "dhcp-other-subnet",
      severity: "error",
      what: "Pis would get addresses of another network than the manager's",
      evidence: `${describe(offer)}; ${interfaceName} has ${address} with netmask ${netmask}`,
      remedy: "give the manager an address in that network, or correct the DHCP server's range",
    },
  ];
}

function checkBootFile(offer: BootOffer): Finding[] {
  const { server, bootFile, nextServer } = offer;
  if (bootFile === undefined || !X86_BOOT_FILE.test(bootFile) || offer.vendor?.hasPiBoot) return [];
  return [
    {
      id: "dhcp-x86-boot-options",
      severity: "warning",
      what: "A DHCP server tells everybody who boots to load a PC's boot program",
      evidence: `${server} offers boot file ${JSON.stringify(bootFile)}${nextServer ? ` on ${nextServer}` : ""} to a client with architecture 0, as Pis have it`,
      remedy: "let that server leave out Pis (option 97, or MACs of Raspberry Pi), or keep it out of this network",
    },
  ];
}

/** Somebody else says from where Pis boot. */
function checkOtherBootServer(offer: BootOffer, { address }: NetworkPlace): Finding[] {
  const tftp = textOf(offer);
  const isOther = (tftp !== undefined && tftp !== address) || (offer.vendor?.hasPiBoot && offer.server !== address);
  if (!isOther) return [];
  return [
    {
      id: "dhcp-other-boot-server",
      severity: "error",
      what: "Another server says where Pis boot from",
      evidence: `${offer.server} offers ${[
        ...(tftp === undefined ? [] : [`option 66 "${tftp}"`]),
        ...(offer.vendor?.hasPiBoot ? ["option 43 with Raspberry Pi Boot"] : []),
      ].join(" and ")}; this manager is ${address}`,
      remedy: "take these options from it; with two answers a Pi boots from either, or from neither",
    },
  ];
}

function textOf({ tftpServer }: BootOffer): string | undefined {
  return tftpServer && "text" in tftpServer ? tftpServer.text : undefined;
}

/** `dhcp: external`: the other server must send Pis here. */
function checkExternal({ offers, askedAs }: DhcpAnswers, { address }: NetworkPlace): Finding[] {
  if (offers.length === 0) return [];
  const isGood = (offer: BootOffer) =>
    textOf(offer) === address || (offer.vendor?.form === "menu" && offer.server === address);
  if (offers.some(isGood)) return [];
  const unusable = offers.map(whyUnusable).find((why) => why !== undefined);
  const remedy = `option 66 as the text "${address}" (not as an address of four bytes), or option 43 as docs/BOOT.md has it`;
  if (unusable) {
    return [
      {
        id: "dhcp-unusable-boot-options",
        severity: "error",
        what: "The DHCP server's boot options do not bring Pis to this manager",
        evidence: unusable,
        remedy: `let it send ${remedy}`,
      },
    ];
  }
  const [first] = offers;
  return [
    {
      id: "dhcp-without-boot-options",
      severity: "error",
      what: "The DHCP server does not say where to boot from",
      evidence:
        `${first?.server} offers neither option 43 with Raspberry Pi Boot nor option 66` +
        `${first?.nextServer ? `; next-server ${first.nextServer} alone does not help, Pis do not go by it` : ""}` +
        `. ${askedFor(askedAs)}`,
      remedy: `dhcp: external needs a server that sends ${remedy}. Otherwise dhcp: proxy`,
    },
  ];
}

function askedFor(who: DhcpAnswers["askedAs"]): string {
  if (typeof who === "object") return `It was asked for ${who.node}`;
  return "It was asked for a Pi that there is not: a server that knows its Pis by MAC may answer them otherwise";
}

function whyUnusable(offer: BootOffer): string | undefined {
  const { server, tftpServer, vendor } = offer;
  if (tftpServer && "binary" in tftpServer) {
    return `option 66 of ${server} is ${tftpServer.binary.length} bytes that are no text; Pis read a text`;
  }
  if (tftpServer) return `option 66 of ${server} names ${tftpServer.text}`;
  if (vendor?.form === "text") {
    return `option 43 of ${server} is the bare words; Pis from the 4 on look for them in a PXE menu`;
  }
  if (vendor?.form === "menu") return `option 43 of ${server} sends Pis to that server itself`;
  return undefined;
}
