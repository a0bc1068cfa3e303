# A checkpassword for tests, quick to start: perl checkpassword.pl LOGIN PASSWORD HOME UID PROGRAM...
# Reads descriptor 3 as the interface says, exits 1 for any other login, becomes UID (when root), runs PROGRAM in HOME.
use strict;
my ($login, $password, $home, $uid, @program) = @ARGV;
open(my $claim, '<&=', 3) or exit 2;
my $octets = do { local $/; <$claim> };
close($claim);
my @field = split(/\0/, $octets, -1);
exit 1 if length($octets) > 512 || @field < 2 || $field[0] ne $login || $field[1] ne $password;
if ($> == 0) { $) = "$uid $uid"; $( = $uid; $< = $> = $uid; exit 111 if $> != $uid; }
chdir($home) or exit 111;
($ENV{HOME}, $ENV{USER}) = ($home, $login);
exec(@program) or exit 111;
