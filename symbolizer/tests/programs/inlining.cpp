// What makes a symbolizer work: templates, lambdas, several levels of inlining, cold parts, aliases and names that are not C++.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <numeric>
#include <regex>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

namespace shapes {

struct Circle { double radius; };
struct Square { double side; };
template <typename... Parts> struct Group { std::tuple<Parts...> parts; };

using Shape = std::variant<Circle, Square, Group<Circle, Square>>;

static inline double area(const Circle &circle) { return 3.14 * circle.radius * circle.radius; }
static inline double area(const Square &square) { return square.side * square.side; }
template <typename... Parts> static inline double area(const Group<Parts...> &group) {
    return std::apply([](const auto &...part) { return (area(part) + ... + 0.0); }, group.parts);
}

double total(const std::vector<Shape> &shapes) {
    return std::accumulate(shapes.begin(), shapes.end(), 0.0, [](double sum, const Shape &shape) {
        return sum + std::visit([](const auto &kind) { return area(kind); }, shape);
    });
}

} // namespace shapes

namespace {

template <unsigned Depth> struct Tower {
    static inline unsigned climb(unsigned value) {
        return Depth % 3 == 0 ? Tower<Depth - 1>::climb(value * 3 + Depth) : Tower<Depth - 1>::climb(value ^ Depth);
    }
};
template <> struct Tower<0> {
    static inline unsigned climb(unsigned value) { return value; }
};

struct Base {
    virtual ~Base() = default;
    virtual int weigh(int grams) const = 0;
};
template <int Factor> struct Derived final : Base {
    int weigh(int grams) const override {
        if (grams < 0) throw std::invalid_argument("grams: " + std::to_string(grams));
        return grams * Factor;
    }
};

} // namespace

extern "C" __attribute__((noinline)) int plain_c(int value) { return static_cast<int>(Tower<12>::climb(value)); }
extern "C" int plain_c_alias(int value) __attribute__((alias("plain_c")));
extern "C" __attribute__((noinline, cold)) void give_up(const char *why) {
    std::fprintf(stderr, "%s\n", why);
    std::exit(1);
}

int main(int count, char **words) {
    std::vector<shapes::Shape> shapes;
    std::unordered_map<std::string, std::vector<int>> lengths;
    std::map<int, std::unique_ptr<Base>> scales;
    scales.emplace(0, std::make_unique<Derived<2>>());
    scales.emplace(1, std::make_unique<Derived<5>>());
    const std::regex number("([0-9]+)(\\.[0-9]+)?");
    for (int index = 1; index < count; ++index) {
        const std::string word = words[index];
        if (word.empty()) give_up("an empty word");
        std::smatch match;
        if (std::regex_match(word, match, number)) {
            const double value = std::stod(match[0]);
            if (value < 1) shapes.emplace_back(shapes::Circle{value});
            else if (value < 2) shapes.emplace_back(shapes::Square{value});
            else shapes.emplace_back(shapes::Group<shapes::Circle, shapes::Square>{{{value}, {value}}});
        }
        lengths[word].push_back(static_cast<int>(word.size()));
    }
    std::vector<std::pair<std::string, int>> sums;
    for (const auto &[word, all] : lengths) sums.emplace_back(word, std::accumulate(all.begin(), all.end(), 0));
    std::sort(sums.begin(), sums.end(), [](const auto &a, const auto &b) {
        return std::tie(b.second, a.first) < std::tie(a.second, b.first);
    });
    try {
        for (const auto &[word, sum] : sums)
            std::printf("%s %d %d %d\n", word.c_str(), scales.at(sum % 2)->weigh(sum), plain_c(sum), plain_c_alias(sum));
    } catch (const std::exception &error) {
        give_up(error.what());
    }
    std::printf("%f\n", shapes::total(shapes));
    return 0;
}
