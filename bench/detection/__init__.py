"""How well releases are judged: seeded scenarios with known truth, and what was decided on them."""
