"""What made-up suites of claims have in common, as text."""

CLAIM = """

def claim(name, mutant="the same target whatever N", **more):
    return Claim(
        id=f"a-paper/{name}",
        version=1,
        says="It is so.",
        source=Paper("a-paper", "A Paper", "A. Author", "Venue 2026").at("Table 1"),
        published="0.5",
        expects=(Level("arm", at_least=0.2),),
        margin=0.1,
        mutant=mutant,
        **more,
    )
"""
"""A claim about how often an arm hits."""
