"""What a running guest proves: attestation reports, certificates, and a verdict on both."""
