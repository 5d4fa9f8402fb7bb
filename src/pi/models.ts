/**
 * Raspberry Pi models that can boot over their own wired network port, as data.
 * Sources: Raspberry Pi documentation (boot-net, eeprom-bootloader, config_txt, revision-codes).
 * Left out: boards without Ethernet (A, A+, 3A+, Zero, Zero 2 W) and those that need a card for every boot (1, 2 v1.1).
 */
import { type DhcpQuirkId, ROM_2837_QUIRKS, ROM_2837B0_QUIRKS } from "./dhcp-quirks.ts";

export type Soc = "bcm2837" | "bcm2711" | "bcm2712";

export interface PiModel {
  /** How the manifest names it. */
  id: string;
  name: string;
  soc: Soc;
  /** Type field of the revision code, bits 4 to 11. */
  boardTypes: readonly number[];
  /** The config.txt section filters that hold for this model, without brackets. */
  filters: readonly string[];
  /** Raspberry Pi's own device tree name, and the one of mainline Linux (`upstream_kernel=1`). */
  deviceTree: string;
  upstreamDeviceTree: string;
  /** What the firmware asks for when config.txt names no kernel, best first. */
  kernels64: readonly string[];
  kernels32: readonly string[];
  /** `arm_64bit` when config.txt does not say. */
  defaultsTo64Bit: boolean;
  /** Of the largest variant. */
  memoryMaxMiB: number;
  /** Files without which the board never reaches a kernel. The 5 family carries its firmware in the EEPROM. */
  firmwareFiles: readonly string[];
  /** Kernel options, one of which must be built in for the kernel to reach the network without an initramfs. */
  networkDrivers: readonly string[];
  /** What the owner must do once, as a sentence. */
  netbootSetUp: string;
  /** What its boot ROM does of its own when it asks for an address. The EEPROM bootloaders do as the standards say. */
  dhcpQuirks: readonly DhcpQuirkId[];
}

const SET_BOOT_ORDER =
  "Set BOOT_ORDER=0xf21 in the EEPROM (raspi-config, rpi-eeprom-config --edit, or the Imager's network boot card); as shipped it has no network boot";
const SET_OTP_BIT =
  "Boot once from a card with program_usb_boot_mode=1 in config.txt; this sets a bit in the chip for good (vcgencmd otp_dump | grep 17: shows 3020000a)";

const PI_3 = {
  soc: "bcm2837",
  memoryMaxMiB: 1024,
  kernels64: ["kernel8.img"],
  kernels32: ["kernel7.img"],
  defaultsTo64Bit: false,
  firmwareFiles: ["bootcode.bin", "start.elf", "fixup.dat"],
} as const;
const PI_4 = {
  soc: "bcm2711",
  memoryMaxMiB: 8192,
  kernels64: ["kernel8.img"],
  kernels32: ["kernel7l.img"],
  defaultsTo64Bit: true,
  firmwareFiles: ["start4.elf", "fixup4.dat"],
  networkDrivers: ["BCMGENET"],
  netbootSetUp: SET_BOOT_ORDER,
  dhcpQuirks: [],
} as const;
const PI_5 = {
  soc: "bcm2712",
  memoryMaxMiB: 16384,
  kernels64: ["kernel_2712.img", "kernel8.img"],
  kernels32: [],
  defaultsTo64Bit: true,
  firmwareFiles: [],
  networkDrivers: ["MACB"],
  netbootSetUp: SET_BOOT_ORDER,
  dhcpQuirks: [],
} as const;

export const PI_MODELS: readonly PiModel[] = [
  {
    ...PI_3,
    id: "3b",
    name: "Raspberry Pi 3 Model B",
    boardTypes: [0x08],
    filters: ["pi3"],
    deviceTree: "bcm2710-rpi-3-b.dtb",
    upstreamDeviceTree: "bcm2837-rpi-3-b.dtb",
    networkDrivers: ["USB_NET_SMSC95XX"],
    netbootSetUp: SET_OTP_BIT,
    dhcpQuirks: ROM_2837_QUIRKS,
  },
  {
    ...PI_3,
    id: "3b+",
    name: "Raspberry Pi 3 Model B+",
    boardTypes: [0x0d],
    filters: ["pi3", "pi3+"],
    deviceTree: "bcm2710-rpi-3-b-plus.dtb",
    upstreamDeviceTree: "bcm2837-rpi-3-b-plus.dtb",
    networkDrivers: ["USB_LAN78XX"],
    netbootSetUp: "Nothing: it boots over the network as shipped when no card is inserted",
    dhcpQuirks: ROM_2837B0_QUIRKS,
  },
  {
    ...PI_3,
    id: "cm3",
    name: "Raspberry Pi Compute Module 3 or 3+",
    boardTypes: [0x0a, 0x10],
    filters: ["pi3"],
    deviceTree: "bcm2710-rpi-cm3.dtb",
    upstreamDeviceTree: "bcm2837-rpi-cm3-io3.dtb",
    networkDrivers: ["USB_NET_SMSC95XX", "USB_LAN78XX"],
    netbootSetUp: `${SET_OTP_BIT}; the carrier board needs a LAN951x or LAN7515 network chip`,
    dhcpQuirks: ROM_2837_QUIRKS,
  },
  {
    ...PI_4,
    id: "4",
    name: "Raspberry Pi 4 Model B",
    boardTypes: [0x11],
    filters: ["pi4"],
    deviceTree: "bcm2711-rpi-4-b.dtb",
    upstreamDeviceTree: "bcm2711-rpi-4-b.dtb",
  },
  {
    ...PI_4,
    id: "400",
    name: "Raspberry Pi 400",
    memoryMaxMiB: 4096,
    boardTypes: [0x13],
    filters: ["pi4", "pi400"],
    deviceTree: "bcm2711-rpi-400.dtb",
    upstreamDeviceTree: "bcm2711-rpi-400.dtb",
  },
  {
    ...PI_4,
    id: "cm4",
    name: "Raspberry Pi Compute Module 4",
    boardTypes: [0x14],
    filters: ["pi4", "cm4"],
    deviceTree: "bcm2711-rpi-cm4.dtb",
    upstreamDeviceTree: "bcm2711-rpi-cm4-io.dtb",
  },
  {
    ...PI_5,
    id: "5",
    name: "Raspberry Pi 5",
    boardTypes: [0x17],
    filters: ["pi5"],
    deviceTree: "bcm2712-rpi-5-b.dtb",
    upstreamDeviceTree: "bcm2712-rpi-5-b.dtb",
  },
  {
    ...PI_5,
    id: "500",
    name: "Raspberry Pi 500 or 500+",
    boardTypes: [0x19],
    filters: ["pi5", "pi500"],
    deviceTree: "bcm2712-rpi-500.dtb",
    upstreamDeviceTree: "bcm2712-rpi-500.dtb",
  },
  {
    ...PI_5,
    id: "cm5",
    name: "Raspberry Pi Compute Module 5",
    boardTypes: [0x18],
    filters: ["pi5", "cm5"],
    deviceTree: "bcm2712-rpi-cm5-cm5io.dtb",
    upstreamDeviceTree: "bcm2712-rpi-cm5-cm5io.dtb",
  },
  {
    ...PI_5,
    id: "cm5l",
    name: "Raspberry Pi Compute Module 5 Lite",
    boardTypes: [0x1a],
    filters: ["pi5", "cm5"],
    deviceTree: "bcm2712-rpi-cm5l-cm5io.dtb",
    upstreamDeviceTree: "bcm2712-rpi-cm5l-cm5io.dtb",
  },
];

/** Accepts what people write: `4`, `4b`, `Pi 4`, `3B+`, `3bplus`. */
export function findPiModel(text: string): PiModel | undefined {
  const id = text
    .toLowerCase()
    .replace(/raspberry|pi|model|\s|-/g, "")
    .replace("plus", "+");
  const wanted = /^[45]b$/.test(id) ? id.slice(0, 1) : id === "3+" ? "3b+" : id === "3" ? "3b" : id;
  return PI_MODELS.find((model) => model.id === wanted);
}
