"""libp2p behind one hardened door. Nothing else imports libp2p."""
