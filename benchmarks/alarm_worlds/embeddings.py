"Worlds of the pages of encoders: one that reads the whole text, one that reads its opening only."
from alarm_worlds import Simulated, Words, fitted
from causal_prompts.worlds import World


class Openings(Words):
    "The first eight words of a text: what follows is cut off, as by an encoder whose window is too short."
    def encode(self, texts, role="prompt"): return super().encode([" ".join(t.split()[:8]) for t in texts], role)

WORLDS = {
    "texts apart": Simulated(lambda seed: fitted(World.preset("randomised", seed=seed), seed=seed)),
    "texts that share vectors": Simulated(lambda seed: fitted(World.preset("randomised", seed=seed), seed=seed, encoder=Openings()),
        "an encoder that reads the first eight words, 300 queries x 4, 12 prompts; clean: one that reads all words"),
}
