/**
 * What the DHCP clients in Raspberry Pi firmware need beyond the standards, as data: which firmware does what, where that
 * was observed, and how it is answered. `docs/BOOT.md` section 7 has the table for people.
 * Sources: Raspberry Pi documentation (boot-net); issues of raspberrypi/firmware (FW) and raspberrypi/rpi-eeprom (EE);
 * N3B: the tests of the boot ROM by openSUSE's netboot-rpi3b.
 */
import type { Option97Form } from "./option97.ts";

export type DhcpQuirkId =
  | "needs-frames"
  | "shared-transaction-id"
  | "padded-menu-text"
  | "menu-only"
  | "no-request"
  | "asks-no-netmask"
  | "refuses-relays"
  | "five-tries";

export interface DhcpQuirk {
  observed: string;
  answer: string;
  sources: string;
}

export const DHCP_QUIRKS: Readonly<Record<DhcpQuirkId, DhcpQuirk>> = {
  "needs-frames": {
    observed:
      "a try ends when no frame comes for about 1 s, and an offer counts only when another frame comes more than 1 s after the DISCOVER",
    answer: "two frames that mean nothing, 0.6 s and 1.2 s after the DISCOVER, to its MAC",
    sources: "N3B, FW#764, FW#859, FW#862",
  },
  "shared-transaction-id": {
    observed: "every board asks with transaction id 26f30339 and takes an offer to any of them for its own",
    answer: "its offers go in a frame to its MAC, never by broadcast, and those of two boards not at once",
    sources: "FW#1067, FW#1303",
  },
  "padded-menu-text": {
    observed: "the menu text is compared with three spaces at its end",
    answer: "the text has them, for all models: newer firmware looks for the words in it",
    sources: "boot-net, FW#941",
  },
  "menu-only": {
    observed:
      "option 66 beside option 43 is taken instead of it, last one wins; bootloaders of December 2019 misread its digits",
    answer: "option 43 alone, as dnsmasq answers it: the boot server is where the offer comes from",
    sources: "N3B, FW#871, EE#72",
  },
  "no-request": {
    observed: "it takes the offer's address without a REQUEST",
    answer: "an offer holds for 10 minutes, and teaches whose the address is",
    sources: "boot-net, FW#1067, FW#1699",
  },
  "asks-no-netmask": {
    observed: "it asks for neither netmask nor router, and needs them",
    answer: "both are sent unasked",
    sources: "FW#862, FW#1001",
  },
  "refuses-relays": {
    observed: "it drops an answer that came through a relay agent",
    answer: "nothing can be done: the manager must be on its own network",
    sources: "boot-net",
  },
  "five-tries": {
    observed: "it asks five times, 5 s apart, and is silent until its power is cut",
    answer: "the manager must be running before it is switched on",
    sources: "boot-net, FW#825, FW#954",
  },
};

/** Of the boot ROM in the BCM2837: 3B, Compute Module 3 and 3+. */
export const ROM_2837_QUIRKS: readonly DhcpQuirkId[] = [
  "needs-frames",
  "shared-transaction-id",
  "padded-menu-text",
  "menu-only",
  "no-request",
  "asks-no-netmask",
  "refuses-relays",
  "five-tries",
];
/** Of the boot ROM in the BCM2837B0, and of every `bootcode.bin`. */
export const ROM_2837B0_QUIRKS: readonly DhcpQuirkId[] = ["menu-only", "no-request"];

/** How the answer to one firmware differs. */
export interface DhcpNeeds {
  quirks: readonly DhcpQuirkId[];
  /** Offers go to its hardware address only. */
  toMacOnly: boolean;
  /** Option 43 says where to boot from, without option 66. */
  menuOnly: boolean;
  /** When frames must reach it, in milliseconds after its DISCOVER. */
  nudgesAtMs: readonly number[];
  /** What lies at least between the offers to two boards of the kind. */
  spacingMs: number;
}

const ROM_2837_NEEDS: DhcpNeeds = {
  quirks: ROM_2837_QUIRKS,
  toMacOnly: true,
  menuOnly: true,
  nudgesAtMs: [600, 1200],
  // Chosen: far longer than a frame takes through a switch; 50 boards are answered in the second that a try lasts.
  spacingMs: 20,
};
const MENU_ONLY_NEEDS: DhcpNeeds = {
  quirks: ROM_2837B0_QUIRKS,
  toMacOnly: false,
  menuOnly: true,
  nudgesAtMs: [],
  spacingMs: 0,
};

/**
 * What a firmware needs, by how it fills option 97: the board's model does not tell, for `bootcode.bin` of a 3B asks as
 * that of a 3B+ does. `undefined` when it reads what the standards say.
 */
export function dhcpNeeds(form: Option97Form | undefined): DhcpNeeds | undefined {
  switch (form) {
    case "rom-3b":
      return ROM_2837_NEEDS;
    case "serial":
      return MENU_ONLY_NEEDS;
    default:
      return undefined;
  }
}
