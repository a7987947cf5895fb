"""The words that tasks are made of: common enough to be one token in most vocabularies.

The order is part of what a seed means: append, never insert.
"""

# ruff: noqa: SIM905  (words in one string take a tenth of the lines)

from __future__ import annotations

NAMES = (
    "Aaron Adam Alan Alex Alice Amanda Amy Andrew Angela Anna Anthony Arthur Barbara Ben Bob Brian Carl Carlos "
    "Caroline Catherine Charles Charlie Chris Christopher Daniel David Diana Donald Edward Elizabeth Emily Emma "
    "Eric Eva Frank Fred Gabriel Gary George Greg Harry Helen Henry Howard Ian Jack Jacob Jake James Jane Jason "
    "Jeff Jennifer Jeremy Jerry Jim Joe John Jonathan Joseph Joshua Juan Julia Julie Justin Karen Kate Keith Kelly "
    "Kevin Kyle Larry Laura Leon Leonard Lewis Linda Lisa Louis Lucas Lucy Luke Marcus Margaret Maria Mark Martha "
    "Martin Mary Matt Matthew Michael Mike Nathan Nicholas Nicole Oliver Oscar Patrick Paul Peter Philip Rachel "
    "Richard Robert"
).split()

PLACES = (
    "store school park office garden station market church hospital restaurant library house beach farm bank hotel "
    "museum theater airport castle club court factory kitchen lake palace port shop studio village river temple "
    "bridge bar tower"
).split()

OBJECTS = (
    "drink ring book ball cup hat box key phone letter card flower knife bottle bag toy coin map pen watch chair "
    "table lamp shirt camera ticket picture gift basket stone rope bell tool piece cake coat computer bone paper "
    "window"
).split()

# Things that last from one year to another.
EVENTS = (
    "war trial reign siege voyage project strike crisis journey campaign dispute conflict contract alliance debate "
    "famine plague tour union mission program struggle operation construction expedition rebellion revolution "
    "investigation partnership study"
).split()

LETTERS = list("ABCDEFGHIJKLMNOPQRSTUVWXYZ")

# A thing, a quality it has, and what it is for. Several things share a use (but for "smell"), so that a use alone does
# not tell the thing. The qualities are asked by no task of today; the shipped vocabulary has them.
RIDDLES = (
    ("apple", "red", "eat"),
    ("wine", "red", "drink"),
    ("rose", "red", "smell"),
    ("rice", "white", "eat"),
    ("milk", "white", "drink"),
    ("dress", "white", "wear"),
    ("coffee", "black", "drink"),
    ("suit", "black", "wear"),
    ("olive", "black", "eat"),
    ("banana", "yellow", "eat"),
    ("taxi", "yellow", "ride"),
    ("bread", "brown", "eat"),
    ("horse", "brown", "ride"),
    ("soup", "hot", "eat"),
    ("tea", "hot", "drink"),
    ("beer", "cold", "drink"),
    ("ice", "cold", "eat"),
    ("cake", "sweet", "eat"),
    ("juice", "sweet", "drink"),
    ("truck", "big", "drive"),
    ("elephant", "big", "ride"),
    ("piano", "big", "play"),
    ("flute", "small", "play"),
    ("bike", "small", "ride"),
    ("ring", "small", "wear"),
    ("novel", "long", "read"),
    ("train", "long", "ride"),
    ("poem", "short", "read"),
    ("violin", "classic", "play"),
    ("book", "classic", "read"),
    ("car", "classic", "drive"),
    ("coat", "warm", "wear"),
    ("bath", "warm", "take"),
    ("shower", "hot", "take"),
    ("nap", "short", "take"),
)

# Nouns, and verbs, in singular and plural (the first verb is asked); prepositions that may stand between two nouns.
NOUNS = (
    ("key", "keys"),
    ("door", "doors"),
    ("window", "windows"),
    ("book", "books"),
    ("letter", "letters"),
    ("picture", "pictures"),
    ("table", "tables"),
    ("chair", "chairs"),
    ("house", "houses"),
    ("school", "schools"),
    ("church", "churches"),
    ("bridge", "bridges"),
    ("river", "rivers"),
    ("garden", "gardens"),
    ("tree", "trees"),
    ("flower", "flowers"),
    ("horse", "horses"),
    ("dog", "dogs"),
    ("bird", "birds"),
    ("car", "cars"),
    ("truck", "trucks"),
    ("ship", "ships"),
    ("boat", "boats"),
    ("road", "roads"),
    ("street", "streets"),
    ("building", "buildings"),
    ("room", "rooms"),
    ("wall", "walls"),
    ("box", "boxes"),
    ("machine", "machines"),
    ("teacher", "teachers"),
    ("student", "students"),
    ("doctor", "doctors"),
    ("soldier", "soldiers"),
    ("farmer", "farmers"),
    ("artist", "artists"),
    ("king", "kings"),
    ("friend", "friends"),
    ("child", "children"),
    ("woman", "women"),
)
VERB_FORMS = (("is", "are"), ("was", "were"), ("has", "have"))
BESIDE = "near behind beside above beyond below opposite".split()

# What a person may do to anything at all; then words, each with a clause that fits it alone. Clauses of one length in
# tokens are taken, so all have five words.
SEEN = (" saw the", " found the", " liked the", " remembered the", " noticed the", " mentioned the")
CLUES = (
    ("dog", "that barked at the cat"),
    ("cat", "that meowed at the dog"),
    ("bird", "that sang in the tree"),
    ("horse", "that pulled the old cart"),
    ("cow", "that gave us fresh milk"),
    ("snake", "that bit him with poison"),
    ("fish", "that swam in the tank"),
    ("car", "that ran out of gas"),
    ("train", "that left the railway station"),
    ("plane", "that landed at the airport"),
    ("ship", "that sailed across the ocean"),
    ("bus", "that carried the school children"),
    ("book", "that has three hundred pages"),
    ("letter", "that came in the mail"),
    ("song", "that plays on the radio"),
    ("movie", "that plays in the theater"),
    ("clock", "that shows the wrong time"),
    ("phone", "that rang without an answer"),
    ("camera", "that took all these pictures"),
    ("knife", "that cut the bread well"),
    ("gun", "that fired a single bullet"),
    ("key", "that opened the locked door"),
    ("fire", "that burned down the house"),
    ("storm", "that brought wind and rain"),
    ("river", "that flows into the sea"),
    ("mountain", "that we climbed with ropes"),
    ("island", "that lies in the ocean"),
    ("tree", "that lost all its leaves"),
    ("bridge", "that leads across the river"),
    ("hospital", "that treats very sick patients"),
    ("school", "that teaches all young children"),
    ("restaurant", "that serves the best food"),
    ("library", "that lends out its books"),
    ("church", "that rings bells on Sunday"),
    ("bank", "that lent us some money"),
    ("doctor", "that healed the sick patients"),
    ("teacher", "that taught the math class"),
    ("soldier", "that fought in the war"),
    ("king", "that ruled over the kingdom"),
    ("baby", "that cried for its mother"),
)
