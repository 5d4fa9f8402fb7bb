/** The manifest and the images it names. */
import type { DoctorFacts } from "./facts.ts";
import type { Finding } from "./finding.ts";

export function checkManifestFacts({ manifest }: DoctorFacts): Finding[] {
  if (!("seen" in manifest)) return [];
  const { path, problems } = manifest.seen;
  if (problems.length === 0) return [];
  return [
    {
      id: "manifest-wrong",
      severity: "error",
      what: `The manifest ${path} is wrong`,
      evidence: problems.join("\n"),
      remedy: "correct it; bramble validate checks it alone. What it says of the network was not looked at",
    },
  ];
}

export function checkImages({ images }: DoctorFacts): Finding[] {
  if (!("seen" in images)) return [];
  return images.seen.flatMap(({ source, missing, problems }): Finding[] => {
    if (missing !== undefined) {
      return [
        {
          id: "image-missing",
          severity: "error",
          what: `The image ${source} is not there`,
          evidence: missing,
          remedy: "correct image: in the manifest, or bramble image import PATH-OR-URL",
        },
      ];
    }
    if (problems.length === 0) return [];
    return [
      {
        id: "image-not-bootable",
        severity: "error",
        what: `Not every node can boot from the image ${source}`,
        evidence: problems.join("\n"),
        remedy: "another image, or the node's true model; bramble image inspect shows what it holds",
      },
    ];
  });
}
