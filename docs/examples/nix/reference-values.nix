# The release of a guest as a derivation: reference values, every export, checksums.
#
#   guest-release = pkgs.callPackage ./reference-values.nix {
#     inherit sevbuild;
#     manifest = ./guest.toml;
#     inputs = {
#       "firmware.path" = "${ovmf}/FV/OVMF.fd";
#       "kernel.path" = "${linux}/bzImage";
#       "initrd.path" = "${initrd}/initrd";
#     };
#     published = ./reference-values.json;
#   };
#
# `inputs` maps keys of the manifest to files of the store, which take the place of the paths written there.
# With `published` the build fails unless the guest is the one that was published.
{ lib, runCommand, sevbuild, manifest, inputs, published ? null }:

let
  set = key: file: "--set ${lib.escapeShellArg "${key}=${file}"}";
  settings = lib.concatStringsSep " " (lib.mapAttrsToList set inputs);
  expect = lib.optionalString (published != null) "--expect ${lib.escapeShellArg "${published}"}";
in
runCommand "guest-release" { nativeBuildInputs = [ sevbuild ]; } ''
  sevbuild measure ${settings} ${expect} ${lib.escapeShellArg "${manifest}"}
  # The folder is exchanged atomically, which needs room beside it: $out has none.
  sevbuild publish --quiet ${settings} -o release ${lib.escapeShellArg "${manifest}"}
  cp -r release "$out"
''
