/**
 * A board that another DHCP server answers, and that does not get on: what that server's answers lack for a Raspberry Pi.
 * Only where we do not answer it ourselves: firmware merges the answers that it gets.
 */
import type { BootInstruction, OtherServerAnswer } from "../../dhcp/other-server.ts";
import { counted, inWords, type NodeCause } from "./cause.ts";
import type { NodeFacts } from "./facts.ts";

/** Of DISCOVERs: after the second one the first answer was not enough. */
const TRIES = 2;
const UNANSWERED_TRIES = 3;
const PC_BOOT_PROGRAM = /ipxe|undionly|snponly|\.(kpxe|pxe|efi|wim)$/i;

const REMEDY =
  'Set option 43 of that server to the menu "Raspberry Pi Boot" (docs/BOOT.md has the bytes) or option 66 to the manager\'s address as text; or set network.dhcp to proxy, and Bramble says where to boot from';

/** The answer, if it is one that this board does not boot with. */
function answerWith(
  { asking, loader }: NodeFacts,
  isMeant: (answer: OtherServerAnswer) => boolean,
): { answer: OtherServerAnswer; evidence: string } | undefined {
  if (asking === undefined || asking.offers > 0 || asking.discovers < TRIES) return undefined;
  const answers = [...asking.others.values()];
  // One that is right is enough. Where the menu has other entries before it, that says nothing of an EEPROM boot loader.
  const isRight = ({ boot, isLaterEntry }: OtherServerAnswer) =>
    boot === "address" || (boot === "menu" && !(isLaterEntry && loader === "eeprom"));
  if (answers.some(isRight)) return undefined;
  const answer = answers.find(isMeant);
  if (answer === undefined) return undefined;
  const during = `${counted(asking.discovers, "DISCOVER")} in ${inWords(asking.lastMs - asking.firstMs)}`;
  return { answer, evidence: `${during}; ${answer.server} offers ${answer.address ?? "no address"}` };
}

function boots(form: BootInstruction) {
  return ({ boot }: OtherServerAnswer) => boot === form;
}

function isForPcs({ boot, bootFile }: OtherServerAnswer): boolean {
  return boot === "none" && bootFile !== undefined && PC_BOOT_PROGRAM.test(bootFile);
}

export const OTHER_SERVER_CAUSES: readonly NodeCause[] = [
  {
    id: "boot-file-for-pcs",
    title: "The DHCP server takes the board for a PC",
    boards: "all",
    sign: "two DISCOVERs; the other server offers a boot program for PCs, and neither menu nor option 66",
    remedy: `Answer boards with option 97 or a Raspberry Pi's MAC differently there: a Pi looks like a BIOS PC in options 60 and 93. ${REMEDY}`,
    source: "EE#182",
    find(node) {
      const found = answerWith(node, isForPcs);
      return found && `${found.evidence} and the boot file ${found.answer.bootFile}`;
    },
  },
  {
    id: "boot-server-as-bytes",
    title: "The DHCP server sends option 66 as four bytes, which no Pi reads",
    boards: "all",
    sign: "two DISCOVERs; the other server's option 66 has four bytes",
    remedy: "Set option 66 to the address as text (RouterOS: the hex of the text, as 0x31302e302e302e31 for 10.0.0.1)",
    source: "FW#871",
    find: (node) => answerWith(node, boots("binary-address"))?.evidence,
  },
  {
    id: "boot-server-as-name",
    title: "The DHCP server sends option 66 in a form that no Pi reads",
    boards: "all",
    sign: "two DISCOVERs; the other server's option 66 is neither four numbers with dots nor four bytes",
    remedy: "Set option 66 to the manager's address as text, without a host name and without a NUL at its end",
    source: "FW#871, FW#1265",
    find: (node) => answerWith(node, boots("name"))?.evidence,
  },
  {
    id: "menu-without-structure",
    title: "The DHCP server's option 43 has the menu text without the PXE menu around it",
    boards: "4 and 5 families",
    sign: "two DISCOVERs of an EEPROM boot loader; the other server's option 43 is bare text",
    remedy: "Send the whole list of sub-options (docs/BOOT.md has the bytes), or option 66 as text",
    source: "DOC#1686",
    find: (node) => (node.loader === "eeprom" ? answerWith(node, boots("menu-text"))?.evidence : undefined),
  },
  {
    id: "menu-without-spaces",
    title: "A 3B wants three spaces behind the menu text",
    boards: "3B",
    sign: "two DISCOVERs of a 3B's ROM; the other server's menu says `Raspberry Pi Boot` without them",
    remedy: 'Make the menu text of that server "Raspberry Pi Boot   ", with three spaces; newer boards take it too',
    source: "FW#941, boot-net",
    find: (node) => (node.loader === "rom-3b" ? answerWith(node, boots("menu-bare"))?.evidence : undefined),
  },
  {
    id: "menu-entry-not-first",
    title: "The Raspberry Pi's entry is not the first of the DHCP server's boot menu",
    boards: "4 family",
    sign: "two DISCOVERs of an EEPROM boot loader; the other server's menu has another entry before `Raspberry Pi Boot`",
    remedy:
      "Put the entry first in that menu, or make it the only one; or update the board's EEPROM: boot loaders since 2020-01-09 read all entries",
    source: "EE#60, release notes 2019-12-03 and 2020-01-09",
    find: (node) =>
      node.loader === "eeprom" ? answerWith(node, ({ isLaterEntry }) => isLaterEntry === true)?.evidence : undefined,
  },
  {
    id: "next-server-only",
    title: "The DHCP server names a next-server, which no Pi reads",
    boards: "all",
    sign: "two DISCOVERs; the other server's answer has `siaddr`, and neither menu nor option 66",
    remedy: REMEDY,
    source: "FW#801",
    find(node) {
      const found = answerWith(node, ({ boot, nextServer }) => boot === "none" && nextServer !== undefined);
      return found && `${found.evidence} and the next-server ${found.answer.nextServer}, without option 43 or 66`;
    },
  },
  {
    id: "offer-without-boot-server",
    title: "The DHCP server gives an address, and nobody says where to boot from",
    boards: "all",
    sign: "two DISCOVERs; the other server's answer has neither menu nor option 66",
    remedy: REMEDY,
    source: "EE#559, EE#826",
    find: (node) => answerWith(node, boots("none"))?.evidence,
  },
  {
    id: "external-dhcp-silent",
    title: "The board asks for an address, and nothing comes of it",
    boards: "all",
    sign: "three DISCOVERs that Bramble does not answer (`network.dhcp: external`), no file request",
    remedy: `Check that the network's DHCP server runs and knows the board. ${REMEDY}`,
    source: "EE#559",
    find: ({ asking, warnings }) =>
      asking &&
      !warnings.has("dhcp-answer") &&
      asking.discovers >= UNANSWERED_TRIES &&
      asking.offers === 0 &&
      asking.requests === 0 &&
      asking.ignored === undefined
        ? `${counted(asking.discovers, "DISCOVER")} in ${inWords(asking.lastMs - asking.firstMs)}; Bramble leaves the answer to others`
        : undefined,
  },
];
