"""Nexmark (Tucker et al. 2002, as in Apache Beam): an auction site's people, auctions and bids, and queries over them."""
