"""The formats that verifiers read: one file a format, pure, behind one Protocol."""
