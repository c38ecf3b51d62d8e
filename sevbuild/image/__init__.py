"""What a guest is made of: firmware, kernel hashes, unified kernel images, an SVSM."""
