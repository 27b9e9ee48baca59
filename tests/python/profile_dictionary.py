"""The rules that the published schema states for a profiles request, checked on the schema's own classes.

`opentelemetry/proto/profiles/v1development/profiles.proto` says in its comments: the first entry of every table is the zero value; an index
points into its table, and 0 means "none"; there should be no duplicates and no entries that nothing refers to; keys of attributes are unique
where they are used; samples of one identity are one; a location's address lies in its mapping.
"""

from collections import Counter

TABLES = ["mapping", "location", "function", "link", "string", "attribute", "stack"]


class Check:
    def __init__(self, request):
        self.request = request
        self.dictionary = request.dictionary
        self.tables = {name: getattr(self.dictionary, f"{name}_table") for name in TABLES}
        self.used = {name: set() for name in TABLES}
        self.problems = []

    def run(self):
        self.zero_values()
        for resource in self.request.resource_profiles:
            for scope in resource.scope_profiles:
                for profile in scope.profiles:
                    self.profile(profile)
        self.follow()
        self.orphans()
        self.duplicates()
        return self.problems

    def say(self, problem):
        self.problems.append(problem)

    def zero_values(self):
        for name, table in self.tables.items():
            if not table:
                self.say(f"{name}_table has no first entry")
            elif name == "string":
                if table[0] != "":
                    self.say(f"string_table[0] is {table[0]!r}")
            elif table[0].ByteSize() != 0:
                self.say(f"{name}_table[0] is not the zero value")

    def refer(self, name, index, what):
        if not 0 <= index < len(self.tables[name]):
            self.say(f"{what} refers to {name}_table[{index}] of {len(self.tables[name])}")
        else:
            self.used[name].add(index)

    def attributes(self, indices, what):
        keys = []
        for index in indices:
            self.refer("attribute", index, what)
            if index == 0:
                self.say(f"{what} has attribute 0, which is none")
            elif 0 < index < len(self.tables["attribute"]):
                keys.append(self.tables["attribute"][index].key_strindex)
        if len(set(keys)) != len(keys):
            self.say(f"{what} has a key twice")

    def profile(self, profile):
        for kind in [profile.sample_type, profile.period_type]:
            self.refer("string", kind.type_strindex, "a value type")
            self.refer("string", kind.unit_strindex, "a value type")
        self.attributes(profile.attribute_indices, "a profile")
        if len(profile.profile_id) not in (0, 16):
            self.say(f"a profile id of {len(profile.profile_id)} bytes")
        if bool(profile.original_payload) != bool(profile.original_payload_format):
            self.say("half an original payload")
        shapes = set()
        identities = Counter()
        for sample in profile.samples:
            self.refer("stack", sample.stack_index, "a sample")
            self.refer("link", sample.link_index, "a sample")
            self.attributes(sample.attribute_indices, "a sample")
            values, times = len(sample.values), len(sample.timestamps_unix_nano)
            if not values and not times or values and times and values != times:
                self.say(f"a sample of {values} values and {times} times")
            shapes.add((values > 0, times > 0))
            attributes = frozenset(sample.attribute_indices)
            identities[(sample.stack_index, attributes, sample.link_index)] += 1
        if len(shapes) > 1:
            self.say("samples of several shapes")
        for identity, count in identities.items():
            if count > 1:
                self.say(f"{count} samples of one identity {identity}")

    def follow(self):
        """What is referred to by what is referred to."""
        for index in sorted(self.used["stack"]):
            for location in self.tables["stack"][index].location_indices:
                self.refer("location", location, f"stack {index}")
                if location == 0:
                    self.say(f"stack {index} has location 0, which is none")
        for index in sorted(self.used["location"]):
            location = self.tables["location"][index]
            self.refer("mapping", location.mapping_index, f"location {index}")
            self.attributes(location.attribute_indices, f"location {index}")
            if 0 < location.mapping_index < len(self.tables["mapping"]):
                mapping = self.tables["mapping"][location.mapping_index]
                if not mapping.memory_start <= location.address <= mapping.memory_limit:
                    self.say(f"location {index} lies outside of its mapping")
            for line in location.lines:
                self.refer("function", line.function_index, f"location {index}")
                if line.function_index == 0:
                    self.say(f"location {index} has a line of no function")
        for index in sorted(self.used["function"]):
            function = self.tables["function"][index]
            for string in [
                function.name_strindex,
                function.system_name_strindex,
                function.filename_strindex,
            ]:
                self.refer("string", string, f"function {index}")
        for index in sorted(self.used["mapping"]):
            mapping = self.tables["mapping"][index]
            self.refer("string", mapping.filename_strindex, f"mapping {index}")
            self.attributes(mapping.attribute_indices, f"mapping {index}")
        for index in sorted(self.used["attribute"]):
            attribute = self.tables["attribute"][index]
            self.refer("string", attribute.key_strindex, f"attribute {index}")
            self.refer("string", attribute.unit_strindex, f"attribute {index}")
        for index in sorted(self.used["link"]):
            link = self.tables["link"][index]
            if index and (len(link.trace_id), len(link.span_id)) != (16, 8):
                self.say(f"link {index} has ids of {len(link.trace_id)} and {len(link.span_id)} bytes")

    def orphans(self):
        for name, table in self.tables.items():
            unused = set(range(1, len(table))) - self.used[name]
            if unused:
                self.say(f"{name}_table: nothing refers to {sorted(unused)[:5]}")

    def duplicates(self):
        for name, table in self.tables.items():
            entry = lambda value: value if name == "string" else value.SerializeToString(deterministic=True)
            for value, count in Counter(map(entry, table)).items():
                if count > 1:
                    self.say(f"{name}_table has {count} times {value!r}")


def problems(request):
    """What is wrong with an ExportProfilesServiceRequest, in words; empty where nothing is."""
    return Check(request).run()
