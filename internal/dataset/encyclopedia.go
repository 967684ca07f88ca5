package dataset

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
)

// Encyclopedia writes n paragraphs of an encyclopedia of a world that does not exist:
// for programs that have no other text. The world, its lands, rivers, peaks,
// towns, people and birds, is the same for every seed and full of facts that
// return; the seed draws what is told of it, and how. The same seed gives the
// same text.
func Encyclopedia(n int, seed uint64) []string {
	w, rng := newWorld(), rand.New(rand.NewPCG(seed, 2))
	out := make([]string, n)
	for i := range out {
		kind := subjects()[rng.IntN(len(subjects()))]
		facts := w.facts[kind.of]
		out[i] = kind.paragraph(facts[rng.IntN(len(facts))], rng)
	}
	return out
}

// A subject is what a paragraph is about: sentences with one fact each, the
// first of which opens it. (a|b) is a or b, <x> the fact of that name.
type subject struct {
	of, opens string
	goes      []string
}

// paragraph tells two to five things of an entity.
func (s subject) paragraph(facts map[string]string, rng *rand.Rand) string {
	told := []string{expandTemplate(s.opens, facts, rng)}
	for _, i := range rng.Perm(len(s.goes))[:2+rng.IntN(4)] {
		told = append(told, expandTemplate(s.goes[i], facts, rng))
	}
	return strings.Join(told, " ")
}

// expandTemplate chooses among alternatives, from the innermost, and fills in facts.
func expandTemplate(s string, facts map[string]string, rng *rand.Rand) string {
	for {
		end := strings.IndexByte(s, ')')
		if end < 0 {
			break
		}
		start := strings.LastIndexByte(s[:end], '(')
		ways := strings.Split(s[start+1:end], "|")
		s = s[:start] + ways[rng.IntN(len(ways))] + s[end+1:]
	}
	for {
		start := strings.IndexByte(s, '<')
		if start < 0 {
			return s
		}
		end := start + strings.IndexByte(s[start:], '>')
		s = s[:start] + facts[s[start+1:end]] + s[end+1:]
	}
}

func subjects() []subject {
	return []subject{
		{"town", "<town> is a (town|<trade> town|small town|market town) in the <side> of <land>, " +
			"on the (left|right) bank of the <river>.", []string{
			"It was founded in <founded> by settlers from <from>.",
			"(About|Some|Nearly) <souls> people live (there|in the town), (most|many) of whom speak <tongue>.",
			"The town is (best known|known all over <land>) for its <trade>.",
			"(A|An old) bridge over the <river> joins the two halves of <town>.",
			"From the market square <peak> can be seen (on clear days|in the <side>).",
			"The (road|railway) from <town> to <capital> was (opened|built) in <opened>.",
			"In <opened> a fire burned down (a third|half) of <town>, and the <trade> was lost.",
			"The <trade> of <town> was (sold|praised) as far as <from>.",
		}},
		{"river", "The <river> is a river in the <side> of <land>(|, <length> kilometres long).", []string{
			"It rises (on the slopes of|below) <peak> and flows (north|south|east|west) through <land>.",
			"With a length of <length> kilometres it is (one of the longest|among the shorter) rivers of <land>.",
			"The largest town on the <river> is <town>.",
			"(Its water is cold|Its banks are wooded), and the <bird> (nests|breeds) along its (upper|lower) course.",
			"(Boats|Ships|Barges) (carry|carried) <trade> from <town> down the <river> to <capital>.",
			"In the spring of <opened> the <river> flooded <town> and (many|several) villages.",
			"In <tongue> its name means (cold|slow|white|long) water.",
		}},
		{"peak", "<peak> is a (mountain|peak|volcano) in the <side> of <land>.", []string{
			"It is <height> metres high and (covered with snow|free of snow) in (winter|summer).",
			"At <height> metres it is the (highest|second highest) mountain of the <side>.",
			"The first to (climb it|reach the top) was <person>, in <opened>.",
			"The <river> (rises|has its source) on its (northern|southern|eastern|western) side.",
			"The (nearest|next) town is <town>, from which a path leads to the top.",
			"The <bird> (lives|is found) on its slopes.",
		}},
		{"person", "<person>, <born> to <died>, was a <calling> (from|born in) <town>, <land>.", []string{
			"<He> was born in <born> as the (first|second|third|last) child of a (teacher|farmer|miller|judge) in <town>.",
			"At the age of <age> <he> (moved|went) to <capital> and (became|worked as) a <calling>.",
			"The <calling> is (remembered|known|famous) for <work>.",
			"<His> (first|last|best) work, <work>, (appeared|was finished) in <opened>.",
			"<He> died in <died> in <capital>, where a street (bears|carries) the name of <family>.",
			"<family> (spoke|wrote) <tongue> and (travelled|sailed) (often|twice) to <from>.",
			"A statue of <family> stands on the market square of <town>.",
		}},
		{"bird", "The <bird> is a (bird|small bird|water bird) that (lives|is found|breeds) in <land>.", []string{
			"It (feeds|lives) on (seeds|fish|insects|berries) and (rarely|often) leaves the <side> of the land.",
			"The (male|female) is (grey|brown|black) with a (white|red|yellow) (throat|crown|tail).",
			"It (nests|breeds) (in reeds along|on islands in|near) the <river>.",
			"In (autumn|winter) flocks of <age> birds and more gather near <town>.",
			"It was (first described|named) by the <calling> <person> in <opened>.",
			"The <bird> is the (emblem|symbol) of the town of <town>.",
		}},
		{"land", "<land> is a (country|land|republic) whose capital is <capital>.", []string{
			"Its people speak <tongue> and (trade with|sell <trade> to) <from>.",
			"The longest river is the <river>, and the highest mountain is <peak>.",
			"(After|Before) <town>, <capital> is the largest town of <land>.",
			"The (war|peace|treaty) of <opened> (ended|began) the rule of <from>.",
			"<person>, a <calling>, is (the best known|one of the best known) writers in <tongue>.",
			"In <founded> the (king|queen|council) of <land> moved to <capital>.",
		}},
	}
}

// A world holds the facts of every entity, by kind.
type world struct {
	rng   *rand.Rand
	names map[string]bool
	facts map[string][]map[string]string
}

// The size of the world.
const (
	lands  = 10
	within = 8 // entities of a kind in a land
)

func newWorld() *world {
	w := &world{rng: rand.New(rand.NewPCG(1, 3)), names: map[string]bool{}, facts: map[string][]map[string]string{}}
	var countries []map[string]string
	for range lands {
		stem := w.newName()
		countries = append(countries, map[string]string{
			"land":    stem + w.pickOne("ia", "land", "mark", "or"),
			"tongue":  stem + w.pickOne("ish", "ian", "ese"),
			"capital": w.newName() + w.pickOne("", "burg", "ton"),
		})
	}
	for i, c := range countries {
		c["from"] = countries[(i+1+w.rng.IntN(lands-1))%lands]["land"]
		for range within {
			w.addRegion(c)
		}
	}
	return w
}

// addRegion makes a region: entities of every kind that know of each other.
func (w *world) addRegion(country map[string]string) {
	r := maps.Clone(country)
	given, family := w.newName(), w.newName()+w.pickOne("", "son", "er", "in", "el")
	born := 1500 + w.rng.IntN(400)
	r["person"], r["family"], r["born"] = given+" "+family, family, fmt.Sprint(born)
	r["side"] = w.pickOne("north", "south", "east", "west", "north-east", "south-west")
	r["town"] = w.newName() + w.pickOne("", "", "ham", "stad", "wick", "mouth", "bridge")
	r["river"] = w.newName()
	r["peak"] = w.pickOne("Mount ", "Mount ", "Great ", "Old ") + w.newName()
	r["bird"] = w.pickOne("grey", "red", "white", "long-tailed", "spotted", "crested", "black", "golden") + " " +
		w.pickOne("finch", "heron", "lark", "owl", "plover", "swift", "rail", "tern")
	r["trade"] = w.pickOne("salt", "wool", "glass", "timber", "paper", "cloth", "copper", "honey", "pottery", "wine")
	r["calling"] = w.pickOne("painter", "poet", "botanist", "composer", "sailor", "chemist",
		"historian", "geographer", "printer", "sculptor")
	r["work"] = w.pickOne("a map", "a history", "a book", "an opera", "a study", "a poem", "a drawing") + " of " +
		w.pickOne("the stars", "the "+r["river"], r["land"], "the sea", r["town"], "the birds of "+r["land"])
	if r["He"], r["he"], r["His"] = "He", "he", "His"; w.rng.IntN(2) == 0 {
		r["He"], r["he"], r["His"] = "She", "she", "Her"
	}
	r["died"] = fmt.Sprint(born + 40 + w.rng.IntN(45))
	r["founded"] = fmt.Sprint(1000 + w.rng.IntN(500))
	r["opened"] = fmt.Sprint(1700 + w.rng.IntN(250))
	r["age"] = fmt.Sprint(16 + w.rng.IntN(20))
	r["souls"] = fmt.Sprintf("%d,%d00", 2+w.rng.IntN(60), 1+w.rng.IntN(9))
	r["length"] = fmt.Sprint(20 + 5*w.rng.IntN(120))
	r["height"] = fmt.Sprint(800 + 10*w.rng.IntN(300))
	for _, kind := range []string{"town", "river", "peak", "person", "bird", "land"} {
		w.facts[kind] = append(w.facts[kind], r)
	}
}

// newName makes a name that nothing has yet.
func (w *world) newName() string {
	for {
		s := w.pickOne("b", "br", "d", "dr", "f", "g", "gr", "h", "k", "l", "m", "n", "p", "r", "s", "st", "t", "tr", "v", "")
		s += w.pickOne("a", "e", "i", "o", "u", "ei", "au") + w.pickOne("l", "n", "r", "s", "lm", "nd", "rk", "v", "st", "nn")
		s += w.pickOne("", "a", "o", "en", "e", "ik", "un")
		if len(s) > 3 && !w.names[s] {
			w.names[s] = true
			return strings.ToUpper(s[:1]) + s[1:]
		}
	}
}

func (w *world) pickOne(from ...string) string { return from[w.rng.IntN(len(from))] }
