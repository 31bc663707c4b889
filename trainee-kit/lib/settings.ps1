# The settings: read from .env, repaired, asked for, written back. setup.ps1 and agent.ps1 read this
# file. It does what settings.sh does, in the same order.
#
# For Windows PowerShell 5.1 and PowerShell 7. Only ASCII: 5.1 takes a script without a mark for one in
# the computer's old code page.

$ErrorActionPreference = 'Stop'

# What can be set, in the order in which it is written where it is missing.
$Names = 'OPENCLAW_URL', 'USER_ID', 'CLAIM_CODE', 'OPENCLAW_GATEWAY_KEY', 'OPENAI_API_KEY', 'MODEL', 'PROJECT_ID'
$Settings = @{}
foreach ($name in $Names) { $Settings[$name] = '' }

# How a script ends; README.md has the list.
$WrongUse = 1
$BadSettings = 2
$NoNetwork = 3
$CaptivePortal = 4
$WrongAddress = 5
$NotLetIn = 6
$NoMore = 7
$UpstreamDown = 8
$ClockOff = 9

$DoubleQuotes = '[' + (-join [char[]](0x201C, 0x201D, 0x201E, 0x2018, 0x2019, 0x201A, 0xAB, 0xBB, 0x60, 0x27)) + ']'
$Dashes = '[' + (-join [char[]](0x2010, 0x2011, 0x2012, 0x2013, 0x2014, 0x2212)) + ']'
$NoBlanks = '[' + (-join [char[]](0x200B, 0xFEFF, 0x0D, 0x00)) + ']'
$Blanks = '[' + (-join [char[]](0xA0, 0x09)) + ']'

# What a terminal shows is UTF-8, as what an agent says is. Some hosts have no console to tell.
try { [Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false) } catch { $null = $_ }

# Ends with an exit code and what is wrong.
function Stop-Kit([int]$Code, [string]$Message) {
    [Console]::Error.WriteLine($Message)
    exit $Code
}

function Test-Interactive {
    [Environment]::UserInteractive -and -not [Console]::IsInputRedirected
}

# What people paste, less what doesn't belong to it: quotes of all kinds, blanks, and the mark that
# some editors put before a text.
function Get-Clean([string]$Text) {
    $clean = $Text -replace $DoubleQuotes, '"' -replace $Dashes, '-' -replace $NoBlanks, '' -replace $Blanks, ' '
    do {
        $before = $clean
        $clean = $clean.Trim(' ')
        if ($clean -match '^"([^"]*)"') { $clean = $Matches[1] }
        elseif ($clean.StartsWith('"')) { $clean = $clean.Substring(1) }
        elseif ($clean.EndsWith('"')) { $clean = $clean.Substring(0, $clean.Length - 1) }
        elseif ($clean -match '^<(.*)>$') { $clean = $Matches[1] }
        elseif ($clean -match '^(.*) #') { $clean = ($clean -split ' #', 2)[0] }
        elseif ($clean.StartsWith('#')) { $clean = '' }
        elseif ($clean -match '[;,]$') { $clean = $clean.Substring(0, $clean.Length - 1) }
    } while ($clean -cne $before)
    $clean
}

# Takes a line of .env apart: its name and what is behind it. Nothing where it sets nothing of ours.
function Split-Line([string]$Line) {
    $plain = $Line -replace $NoBlanks, '' -replace $Blanks, ' '
    if ($plain -cmatch '^ *(?:export )? *([A-Z_]+) *=(.*)$' -and $Names -ccontains $Matches[1]) {
        @{ Name = $Matches[1]; Raw = $Matches[2] }
    }
}

# The lines of a file, in whatever way it was saved.
function Read-Lines([string]$Path) {
    $text = [IO.File]::ReadAllText($Path) -replace [string][char]0, ''
    # A last line end begins no line.
    ($text -replace '\r?\n\z', '') -split '\r?\n'
}

# Reads one file; what another file has set stays as it is.
function Read-SettingsFile([string]$Path) {
    $known = @{}
    foreach ($line in Read-Lines $Path) {
        $part = Split-Line $line
        if (-not $part) { continue }
        $name = $part.Name
        if (-not $known.ContainsKey($name) -and $Settings[$name]) { continue }
        $value = Get-Clean $part.Raw
        if ($value) {
            $known[$name] = $true
            $Settings[$name] = $value
        }
    }
}

# Reads the settings of the kit in a folder, wherever they were saved, and repairs them.
function Read-Settings([string]$Folder) {
    # Editors add .txt without telling, and some people fill in the example.
    foreach ($file in '.env', '.env.txt', 'env.txt', 'env', '.env.example') {
        $path = Join-Path $Folder $file
        if (-not (Test-Path -LiteralPath $path -PathType Leaf)) { continue }
        $code = $Settings.CLAIM_CODE
        try {
            Read-SettingsFile $path
        } catch {
            if ($file -ne '.env') { continue }
            Stop-Kit $BadSettings "The file .env can't be read. It belongs to another user of this computer: unzip the kit again, into a folder of your own."
        }
        # A code beside a key that was read before it has been used.
        if ($file -ne '.env' -and $Settings.OPENCLAW_GATEWAY_KEY) { $Settings.CLAIM_CODE = $code }
    }
    Repair-Settings
}

# Makes of each setting what was meant.
function Repair-Settings {
    Repair-Url
    foreach ($name in 'OPENCLAW_GATEWAY_KEY', 'OPENAI_API_KEY', 'CLAIM_CODE', 'MODEL', 'PROJECT_ID') {
        $Settings[$name] = $Settings[$name] -replace '\s', '' -replace '^[Bb]earer(?=.)', ''
    }
    Move-ToItsPlace
    if (-not $Settings.USER_ID -and $Settings.OPENCLAW_GATEWAY_KEY -cmatch '^ogk_(.+)_[^_]*$') {
        $Settings.USER_ID = $Matches[1]
    }
    $Settings.USER_ID = ($Settings.USER_ID -replace ' ', '-').ToLowerInvariant()
}

# Keys and codes in each other's place go where they belong.
function Move-ToItsPlace {
    foreach ($value in $Settings.CLAIM_CODE, $Settings.OPENAI_API_KEY, $Settings.OPENCLAW_GATEWAY_KEY) {
        $place = ''
        if ($value -clike 'ogk_*') { $place = 'OPENCLAW_GATEWAY_KEY' }
        elseif ($value -clike 'sk-*') { $place = 'OPENAI_API_KEY' }
        elseif ($value -match '^[0-9A-Za-z]{4}-[0-9A-Za-z]{4}$') { $place = 'CLAIM_CODE' }
        if (-not $place) { continue }
        foreach ($name in 'OPENCLAW_GATEWAY_KEY', 'OPENAI_API_KEY', 'CLAIM_CODE') {
            if ($name -ne $place -and $Settings[$name] -ceq $value) { $Settings[$name] = '' }
        }
        $is_taken = [bool]$Settings[$place]
        # What is no key of a gateway's makes room for one.
        if ($place -eq 'OPENCLAW_GATEWAY_KEY') { $is_taken = $Settings[$place] -clike 'ogk_*' }
        if (-not $is_taken) { $Settings[$place] = $value }
    }
}

# The base of the URL: no /v1 and no user behind it, https unless it stays in the building.
function Repair-Url {
    $url = $Settings.OPENCLAW_URL -replace '\s', ''
    if (-not $url) { return }
    $url = ($url -split '[?#]', 2)[0].Replace('\', '/')
    $scheme = ''
    $rest = $url
    if ($url -match '^(https?)(?::/+|//+)(.*)$') {
        $scheme = $Matches[1].ToLowerInvariant()
        $rest = $Matches[2]
    } elseif ($url -match '^[^/]*://(.*)$') {
        $scheme = 'https'
        $rest = $Matches[1]
    }
    do {
        $before = $rest
        $rest = $rest -replace '^/', '' -replace '[/.,]$', '' -replace '/chat/completions$', ''
        $rest = $rest -replace '/v1$', '' -replace '/health$', ''
        if ($rest -cmatch '^(.*)/u/([^/]*)') {
            if (-not $Settings.USER_ID) { $Settings.USER_ID = $Matches[2] }
            $rest = $Matches[1]
        }
    } while ($rest -cne $before)
    $parts = $rest -split '/', 2
    $script:HostName = $parts[0].ToLowerInvariant()
    $rest = $script:HostName
    if ($parts.Length -gt 1) { $rest = $rest + '/' + $parts[1] }
    if (-not (Test-Local $script:HostName)) { $scheme = 'https' }
    elseif (-not $scheme) { $scheme = 'http' }
    $Settings.OPENCLAW_URL = $scheme + '://' + $rest
}

# Whether a host, with its port, is this computer or stands in the same building.
function Test-Local([string]$HostAndPort) {
    if ($HostAndPort.StartsWith('[')) { return $HostAndPort.StartsWith('[::1]') }
    $name = ($HostAndPort -split ':', 2)[0]
    if ($name -match '^(127|10|192\.168|172\.(1[6-9]|2[0-9]|3[01]))\.[0-9.]*$') { return $true }
    if ($name -match '\.(localhost|local|lan)$') { return $true }
    $name -ne '' -and -not $name.Contains('.')
}

# Asks for a setting where somebody is there to answer; whether there was an answer.
function Request-Setting([string]$Name, [string]$Question, [switch]$Hidden) {
    if (-not (Test-Interactive)) { return $false }
    if ($Hidden) {
        $secure = Read-Host -Prompt $Question -AsSecureString
        $pointer = [Runtime.InteropServices.Marshal]::SecureStringToBSTR($secure)
        try { $typed = [Runtime.InteropServices.Marshal]::PtrToStringBSTR($pointer) }
        finally { [Runtime.InteropServices.Marshal]::ZeroFreeBSTR($pointer) }
    } else {
        $typed = Read-Host -Prompt $Question
    }
    $clean = Get-Clean $typed
    $Settings[$Name] = $clean
    Repair-Settings
    [bool]$clean
}

# Asks for what is missing, and refuses what can't be right.
function Complete-Settings([switch]$Silent) {
    if (-not $Settings.OPENCLAW_URL -and ($Silent -or -not (Request-Setting OPENCLAW_URL 'The address that your operator has told you (https://...)'))) {
        Stop-Kit $BadSettings "OPENCLAW_URL is missing in .env. Your operator has told you this address."
    }
    if (-not $Settings.USER_ID -and ($Silent -or -not (Request-Setting USER_ID 'Your USER_ID (such as ada-lovelace)'))) {
        Stop-Kit $BadSettings "USER_ID is missing in .env. Your operator has told you yours."
    }
    if (-not ($Settings.CLAIM_CODE + $Settings.OPENCLAW_GATEWAY_KEY + $Settings.OPENAI_API_KEY)) {
        # Whatever is typed here finds its place.
        if ($Silent -or -not (Request-Setting CLAIM_CODE 'Your code (such as ABCD-EFGH) or your key; it stays hidden while you type' -Hidden)) {
            Stop-Kit $BadSettings "Your code or your key is missing in .env: CLAIM_CODE, or OPENCLAW_GATEWAY_KEY, or the OPENAI_API_KEY that you have used until now."
        }
    }
    Assert-Settings
}

function Assert-Settings {
    if ($Settings.OPENCLAW_URL -cnotmatch '^https?://[-A-Za-z0-9._~:/%\[\]]+$') {
        Stop-Kit $BadSettings "OPENCLAW_URL in .env isn't an address. It looks like https://gateway.example.com: copy it again."
    }
    if ($Settings.USER_ID -cnotmatch '^[a-z0-9][a-z0-9._-]*$') {
        Stop-Kit $BadSettings "USER_ID in .env has a character that no USER_ID has. It looks like ada-lovelace: letters without accents, digits, dots, dashes."
    }
    foreach ($value in $Settings.OPENCLAW_GATEWAY_KEY, $Settings.OPENAI_API_KEY, $Settings.CLAIM_CODE) {
        if ($value -cnotmatch '^[!#-\[\]-~]*$') {
            Stop-Kit $BadSettings "Your key in .env has a character that no key has. Copy it again."
        }
    }
    if (($Settings.MODEL + $Settings.PROJECT_ID) -cnotmatch '^[-A-Za-z0-9._:/@]*$') {
        Stop-Kit $BadSettings "MODEL or PROJECT_ID in .env has a character that doesn't belong there. Leave them empty, or ask your operator."
    }
}

# Whether .env can be written, before anything is spent that can't be had twice.
function Test-Writable([string]$Folder) {
    $path = Join-Path $Folder ('.env.' + [Guid]::NewGuid().ToString('N'))
    try {
        [IO.File]::WriteAllText($path, '')
        [IO.File]::Delete($path)
        # What is marked as read-only can't be replaced.
        $target = Join-Path $Folder '.env'
        -not ((Test-Path -LiteralPath $target) -and (Get-Item -LiteralPath $target -Force).IsReadOnly)
    } catch {
        $false
    }
}

# Writes the settings into .env in one step; whether that went well. What else is in the file stays,
# and so does the file where nothing is new.
function Write-Settings([string]$Folder) {
    $target = Join-Path $Folder '.env'
    $base = $target
    if (-not (Test-Path -LiteralPath $base -PathType Leaf)) { $base = Join-Path $Folder '.env.example' }
    $written = @{}
    $lines = New-Object System.Collections.Generic.List[string]
    if (Test-Path -LiteralPath $base -PathType Leaf) {
        foreach ($line in Read-Lines $base) {
            $part = Split-Line $line
            if ($part) {
                if ($written.ContainsKey($part.Name)) { continue }
                $written[$part.Name] = $true
                $is_odd = $line -match $NoBlanks -or $line -match $Blanks
                if ($is_odd -or $part.Raw -cne $Settings[$part.Name]) { $line = $part.Name + '=' + $Settings[$part.Name] }
            }
            $lines.Add($line)
        }
    }
    foreach ($name in $Names) {
        if ($Settings[$name] -and -not $written.ContainsKey($name)) { $lines.Add($name + '=' + $Settings[$name]) }
    }
    $text = ($lines -join "`n") + "`n"
    $temporary = Join-Path $Folder ('.env.' + [Guid]::NewGuid().ToString('N'))
    try {
        if ((Test-Path -LiteralPath $target -PathType Leaf) -and [IO.File]::ReadAllText($target) -ceq $text) { return $true }
        [IO.File]::WriteAllText($temporary, $text, (New-Object System.Text.UTF8Encoding($false)))
        # On Windows the file belongs to its folder's owner; elsewhere others could read it.
        if ($env:OS -ne 'Windows_NT') { & chmod 600 $temporary }
        if (Test-Path -LiteralPath $target -PathType Leaf) {
            [IO.File]::Replace($temporary, $target, [NullString]::Value)
        } else {
            [IO.File]::Move($temporary, $target)
        }
        $true
    } catch {
        $false
    } finally {
        if (Test-Path -LiteralPath $temporary) { [IO.File]::Delete($temporary) }
    }
}
